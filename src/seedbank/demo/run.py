"""The demo itself: start the servers, hand the photos in, follow what happens, and show the release.

It does nothing that a person could not: it triggers DAGs as Mia, reads the ledger, and, where asked to, answers as Alice and Bob.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from seedbank.bank import Bank
from seedbank.demo.airflow_api import Sessions
from seedbank.demo.follow import Follower, parked_runs
from seedbank.demo.gate import Gate
from seedbank.demo.home import REQUESTER, DemoHome
from seedbank.demo.progress import Progress
from seedbank.demo.servers import running
from seedbank.demo.story import INTAKE, REVIEW, SEARCH, next_dag
from seedbank.inspection.status import concept_status


def run(home: DemoHome, concepts: Sequence[str], *, scripted: bool, progress: Progress) -> bool:
    """Run ``concepts`` to their ends; whether each ended in a release that was verified.

    With people (not ``scripted``) both servers stay up afterwards, until Ctrl-C.

    Raises:
        OutsideError: a server died or a task failed; the end of its log is in the message.
    """
    home.prepare(tuple(concepts), scripted=scripted)
    bank = Bank.open(home.settings())
    with running(home, progress) as services:
        airflow = Sessions(home.airflow_url, home.passwords())
        follower = Follower(bank, airflow, Gate(home, airflow, progress, scripted), services, progress, concepts)
        follower.wait_for_dags()
        follower.forget_old_runs()
        start_work(home, bank, airflow, concepts, progress)
        follower.follow()
        ends = [show_end(home, bank, name, progress) for name in concepts]
        if not scripted:
            follower.stay(
                f"Airflow ({home.airflow_url}) and MLflow ({home.mlflow_url}) stay up for a look, until Ctrl-C"
            )
    return all(ends)


def start_work(home: DemoHome, bank: Bank, airflow: Sessions, concepts: Sequence[str], progress: Progress) -> None:
    """Trigger what comes next for every concept: everything the first time, the missing part after an interruption."""
    dags = {name: next_dag(list(bank.ledger.entries(concept=name))) for name in concepts}
    asked = {run.partition for run in parked_runs(airflow)}
    if INTAKE in dags.values():
        airflow[REQUESTER].trigger(INTAKE, conf={"source": str(home.intake)})
        progress.say(f"{REQUESTER} hands in the photos of {home.intake}")
    for name, dag in dags.items():
        if dag in (SEARCH, REVIEW) and not (dag == REVIEW and name in asked):
            airflow[REQUESTER].trigger(dag, partition=name)
            progress.say(f"{name}: going on with {dag}")


def show_end(home: DemoHome, bank: Bank, name: str, progress: Progress) -> bool:
    """Show how ``name`` ended; a release is verified as an auditor would, with the folder and the public key only."""
    stand = concept_status(name, bank.ledger.entries(concept=name))
    if stand.stage != "released":
        progress.notice(
            f"{name}: {stand.stage}", escape(f"Nothing was published: {stand.detail}.\nNext: {stand.next_step}")
        )
        return False
    command = ["verify", str(release_folder(bank, name)), "--key", str(home.settings().keys / "release.pub")]
    progress.say(f"$ seedbank {' '.join(command)}")
    whole = [sys.executable, "-m", "seedbank", *command]
    done = subprocess.run(whole, env=home.environment(), capture_output=True, text=True, check=False)
    progress.notice(f"{name}: {stand.stage}", escape(f"{done.stdout}{done.stderr}".strip()))
    return done.returncode == 0


def release_folder(bank: Bank, name: str) -> Path:
    """Where the newest release of ``name`` lies on disk."""
    *_, last = bank.ledger.entries(concept=name, event="release.published")
    return Path(bank.settings.store) / str(last.data["folder"])
