"""Following the work: watches the servers, the ledger, Airflow's questions and its runs, and tells about them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from seedbank.bank import Bank
from seedbank.demo.airflow_api import PARKED, Run, Sessions
from seedbank.demo.gate import Gate
from seedbank.demo.progress import Progress
from seedbank.demo.servers import READY_SECONDS
from seedbank.demo.service import Service
from seedbank.demo.story import DAGS, has_ended, left_out, news, next_dag, sentence
from seedbank.errors import OutsideError
from seedbank.evidence.ledger import Entry
from seedbank.references.records import ReferenceSet
from seedbank.trials.records import trial_folder

POLL_SECONDS = 1.0
SETTLE_SECONDS = 60.0
"""How long Airflow may take to close its runs after the ledger has the last word."""
LOG_LINES = 20
"""How much of a failed task's log is shown."""


@dataclass
class Follower:
    """Watches what happens to ``concepts`` and tells about it."""

    bank: Bank
    airflow: Sessions
    gate: Gate
    services: Sequence[Service]
    progress: Progress
    concepts: Sequence[str]
    _shown: int = field(init=False)
    _before: int = field(init=False)
    """How many entries the ledger had when the servers were ready."""
    _ready: float = field(init=False)
    """When that was, in seconds since the start."""
    _passed_over: set[tuple[str, str]] = field(init=False, default_factory=set)
    _at_gate: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._before = self._shown = sum(1 for _ in self.bank.ledger.entries())
        self._ready = self.progress.elapsed

    def wait_for_dags(self) -> None:
        """Wait until Airflow has read the three DAGs."""
        admin = self.airflow["admin"]
        deadline = time.monotonic() + READY_SECONDS
        while not (known := admin.dag_ids()) >= set(DAGS):
            self._check_services()
            if errors := admin.import_errors():
                raise OutsideError(f"Airflow could not read a DAG file:\n{errors[0]}")
            if time.monotonic() > deadline:
                raise OutsideError(
                    f"expected the DAGs {', '.join(DAGS)}, got {', '.join(known) or 'none'} from Airflow"
                )
            self.progress.now("waiting for Airflow to read the DAGs")
            time.sleep(POLL_SECONDS)

    def forget_old_runs(self) -> None:
        """Give up runs that a stopped demo left behind, except those that wait for a person; old failures stay untold."""
        admin = self.airflow["admin"]
        parked = parked_runs(self.airflow)
        for run in admin.runs("queued", "running"):
            if run not in parked:
                admin.fail_run(run)
        self._passed_over = {(run.dag_id, run.run_id) for run in admin.runs("failed")}

    def follow(self) -> None:
        """Tell what happens until every concept has come to an end and Airflow has closed its runs."""
        while not all(has_ended(self._entries(name)) for name in self.concepts):
            self._look()
            time.sleep(POLL_SECONDS)
        deadline = time.monotonic() + SETTLE_SECONDS
        while self._open_runs() and time.monotonic() < deadline:
            self.progress.now("waiting for Airflow to close its runs")
            time.sleep(POLL_SECONDS)
        self._show_news()

    def stay(self, why: str) -> None:
        """Keep the servers up until Ctrl-C."""
        try:
            self.progress.say(why)
            while True:
                self._check_services()
                self._show_news()
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            return

    def _look(self) -> None:
        self._check_services()
        self._show_news()
        try:
            self._look_at_airflow()
        except OutsideError:
            self._check_services()  # a dead server is a better explanation than an unanswered request
            raise

    def _look_at_airflow(self) -> None:
        admin = self.airflow["admin"]
        asking = {run.run_id: run.partition for run in parked_runs(self.airflow) if run.partition in self.concepts}
        for question in admin.questions():
            if concept := asking.get(question.task.run_id):
                self._arrive(concept)
                self.gate.see_to(question)
        for run in admin.runs("failed"):
            self._see_to_failure(run)
        working = [task for task in admin.tasks(states=("running",)) if task.dag_id in DAGS]
        doing = " and ".join(f"{task.dag_id}: {task.task_id.replace('_', ' ')}" for task in working)
        self.progress.now(doing or ("waiting for the reviewers" if asking else "waiting for Airflow's scheduler"))

    def _arrive(self, concept: str) -> None:
        """Say once how long it took to the gate, and how much of that was the search; nothing of what an earlier demo had done."""
        if concept in self._at_gate:
            return
        self._at_gate.add(concept)
        found = [
            entry for entry in self._entries(concept) if entry.event == "trial.finished" and entry.number > self._before
        ]
        if found:
            timing = self.bank.store.get(f"{trial_folder(concept, found[-1].data['key'])}/timing.json")
            took, search = self.progress.elapsed - self._ready, json.loads(timing)["total"]
            self.progress.say(
                f"{concept}: at the review gate {took:.0f} s after Airflow was ready, {search:.0f} s of them the search"
            )

    def _see_to_failure(self, run: Run) -> None:
        """Pass over a failed run that no concept needs any more (a gate said no, which is on record); end the demo for any other."""
        if (run.dag_id, run.run_id) not in self._passed_over:
            concerned = [name for name in self.concepts if run.partition in (None, name)]
            if any(next_dag(self._entries(name)) == run.dag_id for name in concerned):
                raise OutsideError(self._why(run))
            self._passed_over.add((run.dag_id, run.run_id))

    def _why(self, run: Run) -> str:
        """Which task of the run failed, and the end of its log."""
        admin = self.airflow["admin"]
        failed = admin.tasks(dag_id=run.dag_id, run_id=run.run_id, states=("failed",))
        lines = (
            admin.log(failed[-1]).splitlines() if failed else ["no task of it failed; its page in Airflow tells more"]
        )
        where = f"{run.dag_id} ({', '.join(task.task_id for task in failed) or run.run_id})"
        return "\n".join([f"{where} failed for {run.partition or 'the photos'}:", *lines[-LOG_LINES:]])

    def _open_runs(self) -> list[Run]:
        runs = self.airflow["admin"].runs("queued", "running")
        return [run for run in runs if run.dag_id in DAGS and run.partition in (None, *self.concepts)]

    def _show_news(self) -> None:
        entries = list(self.bank.ledger.entries())
        for group in news(entries[self._shown :]):
            for words in self._words(group):
                self.progress.say(words)
        self._shown = len(entries)

    def _words(self, group: Sequence[Entry]) -> list[str]:
        """A sentence about entries of one kind, and after a validation one more for each photo that was left out."""
        words = [sentence(*group)]
        if group[0].event == "references.validated":
            words += left_out(self.bank.load(ReferenceSet, ReferenceSet.announced(group[0])))
        return words

    def _entries(self, name: str) -> list[Entry]:
        return list(self.bank.ledger.entries(concept=name))

    def _check_services(self) -> None:
        for service in self.services:
            service.check()


def parked_runs(airflow: Sessions) -> list[Run]:
    """Runs that wait for a person's answer."""
    waiting = {(task.dag_id, task.run_id) for task in airflow["admin"].tasks(states=(PARKED,))}
    return [run for run in airflow["admin"].runs("running") if (run.dag_id, run.run_id) in waiting]
