"""The ``seedbank`` command: every stage from intake to audit without Airflow; only the reviewers' answers are given there.

In: words and the environment. Out: a table or one JSON document, and an exit code. A module for each group of commands,
none of which imports anything heavy before its command runs.
"""

from seedbank.cli.app import main

__all__ = ["main"]
