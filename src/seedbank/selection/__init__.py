"""Seed selection on any diffusers pipeline; knows nothing of storage, MLflow or Airflow."""
