"""Evidence: the append-only ledger and the signatures.

In: events, bytes and keys. Out: chained entries, signed statements. Knows nothing of concepts or images.
"""
