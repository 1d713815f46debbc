"""Airflow's side of seedbank: what the DAG files, the review gate and the plugin share. Nothing else in the package imports Airflow."""
