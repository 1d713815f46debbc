"""Trials: a search kept in the store, its record and images; expansions of what it found; scans of plain seeds.

In: a concept, its reference set, models. Out: a :class:`~.records.Trial` and blobs. Knows nothing of review, releases or MLflow.
"""
