"""The only part of seedbank that imports Airflow."""
