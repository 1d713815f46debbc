"""``python -m seedbank.demo``: what ``make demo`` and ``make clean`` run."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from rich.console import Console

from seedbank.demo.home import DemoHome, choose_concepts, find_project, forget, locked, remove_state
from seedbank.demo.progress import Progress
from seedbank.demo.run import run
from seedbank.demo.service import choose_port
from seedbank.errors import SeedbankError
from seedbank.settings import Settings

DEFAULT_CONCEPT = "hook"
"""A rare kind whose example photos hold every kind of bad one."""


class Stopped(KeyboardInterrupt):
    """Asked to stop by a signal; carries its number."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code is 0, 1 (a gate said no), 2 (used wrongly), 3 (something failed) or 128 + signal."""
    options = parser().parse_args(arguments)
    root = Settings.from_env().home
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        if options.remove_state:
            remove_state(root)
            return 0
        return _demo(options)
    except SeedbankError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code
    except Stopped as stopped:
        print("demo: stopped; the same command goes on from here", file=sys.stderr)
        return 128 + int(stopped.args[0])


def parser() -> argparse.ArgumentParser:
    """The options, which ``make demo`` fills in."""
    made = argparse.ArgumentParser(prog="python -m seedbank.demo", description=__doc__)
    made.add_argument("--reviewers", choices=("people", "scripted"), default="people", help="who answers the review")
    made.add_argument(
        "--concepts", default="", help=f"example concepts, separated by spaces (default: {DEFAULT_CONCEPT})"
    )
    made.add_argument("--airflow-port", type=int, default=8080, help="0 takes any free port")
    made.add_argument("--mlflow-port", type=int, default=5000, help="0 takes any free port")
    made.add_argument("--fresh", action="store_true", help="forget earlier demos, keep the keys")
    made.add_argument("--remove-state", action="store_true", help="delete all state and do nothing else (make clean)")
    return made


def _demo(options: argparse.Namespace) -> int:
    root, project = Settings.from_env().home, find_project()
    concepts = choose_concepts(project, options.concepts, default=DEFAULT_CONCEPT)
    with locked(root), Progress(Console(highlight=False, soft_wrap=True)) as progress:
        airflow_port = choose_port(options.airflow_port, what="Airflow", option="AIRFLOW_PORT")
        mlflow_port = choose_port(options.mlflow_port, what="MLflow", option="MLFLOW_PORT")
        if options.fresh:
            forget(root)
        progress.say(f"demo of {', '.join(concepts)} in {root}; Ctrl-C stops everything it starts")
        home = DemoHome(root, project, airflow_port, mlflow_port)
        good = run(home, concepts, scripted=options.reviewers == "scripted", progress=progress)
    return 0 if good else 1


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


if __name__ == "__main__":
    sys.exit(main())
