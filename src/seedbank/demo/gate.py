"""The review gate as the demo meets it: it invites two people, or answers in their names through Airflow's own API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from rich.markup import escape

from seedbank.demo.airflow_api import Question, Sessions, Task
from seedbank.demo.home import REVIEWERS, DemoHome
from seedbank.demo.progress import Progress
from seedbank.errors import OutsideError
from seedbank.tracking.links import page_url

SETTLE_SECONDS = 6.0
"""An answer that comes before the worker has reported back makes LocalExecutor fail the task (which then asks again), so a script waits."""
PATIENCE_SECONDS = 300.0
"""A question that stands this long after a script answered it was asked again: the gate refused the answer."""
SCRIPTED_REASON = "Scripted answer of the demo: no person looked at the images."


@dataclass
class Gate:
    """Sees to every question once: ``scripted`` answers it, otherwise people are asked to."""

    home: DemoHome
    airflow: Sessions
    progress: Progress
    scripted: bool
    _since: dict[Task, float] = field(default_factory=dict)
    _done: set[Task] = field(default_factory=set)

    def see_to(self, question: Question) -> None:
        """Invite at once, or answer when the question has settled."""
        task = question.task
        waited = time.monotonic() - self._since.setdefault(task, time.monotonic())
        if self.scripted and waited > PATIENCE_SECONDS:
            raise OutsideError(
                f"the script's answer to '{question.subject}' was not taken; the log of {task.task_id} says why"
            )
        if task in self._done or (self.scripted and waited < SETTLE_SECONDS):
            return
        self._done.add(task)
        if self.scripted:
            self._answer(question)
        else:
            self._invite(question)

    def _answer(self, question: Question) -> None:
        user = next(user for user in REVIEWERS if user in question.asked)
        self.airflow[user].answer(question, question.options[0], _fill(question.params, SCRIPTED_REASON))
        self.progress.say(f"the script answered '{question.options[0]}' as {user} to: {question.subject}")

    def _invite(self, question: Question) -> None:
        passwords = self.home.passwords()
        people = [user for user in question.asked if user in passwords]
        users = "\n".join(f"  {user}   password [bold]{passwords[user]}[/bold]" for user in people)
        self.progress.notice(
            "Your review, please",
            f"[bold]{escape(question.subject)}[/bold]\n\n"
            f"Look at the candidates and answer, with a reason, at\n  [bold]{page(self.home.airflow_url, question.task)}[/bold]\n"
            f"signed in as\n{users}\n\n"
            f"The search itself (losses, seeds, images) is in MLflow:\n  [bold]{self._search_page(question.task)}[/bold]\n"
            "Nothing is published before two different people have said yes.\n"
            "Ctrl-C stops everything; 'make demo' comes back to this point.",
        )

    def _search_page(self, task: Task) -> str:
        """The trial's run in MLflow, or MLflow itself where the review was not caused by a search that logged one."""
        run = str(self.airflow["admin"].cause(task.dag_id, task.run_id).get("mlflow_run") or "")
        return page_url(self.home.mlflow_url, run) if run else self.home.mlflow_url


def page(airflow_url: str, task: Task) -> str:
    """Where a person answers the question of ``task``."""
    return f"{airflow_url}/dags/{task.dag_id}/runs/{quote(task.run_id)}/tasks/{task.task_id}/required_actions"


def _fill(params: Mapping[str, object], reason: str) -> dict[str, object]:
    """The form filled in: the reason where a text is asked for."""
    return dict.fromkeys(params, reason)
