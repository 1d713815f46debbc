"""The demo: MLflow and Airflow on loopback, example photos in, a signed release out. ``python -m seedbank.demo`` or ``make
demo``.

In: example concepts. Out: two running servers, the ledger retold line by line, an invitation to review. It asks Airflow
through its API, as a person would, and does none of the work itself.
"""
