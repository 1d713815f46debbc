"""The ``seedbank`` command: every stage, from intake to audit, without Airflow.

In: arguments and the environment. Out: a table, a sentence or one JSON document, and an exit code. Nothing imports it.
"""

from __future__ import annotations

import sys

from seedbank import __version__

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code. The version is told before anything else is imported."""
    if sys.argv[1:] == ["--version"]:
        print(__version__)
        return
    from seedbank.cli.app import main as run

    run()
