"""The ``seedbank`` command: every stage, from intake to audit, without Airflow."""

from seedbank.cli.app import main

__all__ = ["main"]
