"""What the ledger and the records say: where each concept stands, and where anything came from.

In: a bank. Out: a concept's stage and next step; what a digest came from and went into. Reads only, and loads no model.
"""
