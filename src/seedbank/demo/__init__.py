"""The demo: MLflow and Airflow on loopback, example photos in, a signed release out. ``python -m seedbank.demo`` or ``make demo``."""
