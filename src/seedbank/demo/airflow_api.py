"""Airflow's REST API (v2), as one user: trigger runs, see what they do, answer what they ask."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from seedbank.errors import OutsideError

ANY = "~"
"""Airflow's wildcard for a DAG or run id in a path."""
ATTEMPTS = 3
TIMEOUT_SECONDS = 60.0
PARKED = "awaiting_input"
"""The state of a task that waits for a person's answer; it holds no worker."""


@dataclass(frozen=True)
class Run:
    """One run of a DAG for one partition."""

    dag_id: str
    run_id: str
    partition: str | None
    state: str


@dataclass(frozen=True)
class Task:
    """One task of a run."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int

    @property
    def path(self) -> str:
        """Its place in the API, up to ``hitlDetails``, which wants a map index always."""
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{self.task_id}"


@dataclass(frozen=True)
class Question:
    """What a review task asks and who may answer."""

    task: Task
    subject: str
    options: tuple[str, ...]
    params: Mapping[str, Any]
    asked: tuple[str, ...]


class AirflowApi:
    """A session of one signed-in user.

    Args:
        url: ``http://host:port`` of the API server.
        user: who signs in.
        password: of that user.
    """

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self.user = user
        self._login = {"username": user, "password": password}
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def trigger(self, dag_id: str, *, conf: Mapping[str, Any] | None = None, partition: str | None = None) -> str:
        """Start a run and return its id."""
        body = {"logical_date": None, "conf": dict(conf or {}), "partition_key": partition}
        return str(self._call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def dag_ids(self) -> set[str]:
        """The DAGs Airflow has read so far."""
        return {dag["dag_id"] for dag in self._call("GET", "/dags", params={"limit": 100})["dags"]}

    def import_errors(self) -> list[str]:
        """What Airflow has to complain about DAG files."""
        return [error["stack_trace"] for error in self._call("GET", "/importErrors")["import_errors"]]

    def runs(self, *states: str) -> list[Run]:
        """The newest runs of all DAGs in one of ``states`` (any, if none are given), newest first."""
        query = {"state": list(states), "order_by": "-run_after", "limit": 100}
        found = self._call("GET", f"/dags/{ANY}/dagRuns", params=query)["dag_runs"]
        return [Run(run["dag_id"], run["dag_run_id"], run.get("partition_key"), run["state"]) for run in found]

    def tasks(self, *, dag_id: str = ANY, run_id: str = ANY, states: tuple[str, ...] = ()) -> list[Task]:
        """Tasks of a run (or of all), optionally only those in one of ``states``."""
        query = {"state": list(states), "limit": 100, "order_by": "-start_date"}
        found = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params=query)["task_instances"]
        return [_task(item) for item in found]

    def fail_run(self, run: Run) -> None:
        """Give up a run that nothing works on any more."""
        self._call("PATCH", f"/dags/{run.dag_id}/dagRuns/{run.run_id}", json={"state": "failed"})

    def questions(self) -> list[Question]:
        """Everything that waits for a person's answer now, oldest first."""
        query = {"response_received": False, "state": PARKED, "order_by": "created_at", "limit": 100}
        found = self._call("GET", f"/dags/{ANY}/dagRuns/{ANY}/hitlDetails", params=query)["hitl_details"]
        return [_question(item) for item in found]

    def cause(self, dag_id: str, run_id: str) -> Mapping[str, Any]:
        """What the newest asset event said that caused a run; empty for a run that was triggered by hand."""
        events = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/upstreamAssetEvents")["asset_events"]
        return dict(max(events, key=lambda event: str(event["timestamp"]))["extra"] or {}) if events else {}

    def answer(self, question: Question, option: str, params: Mapping[str, Any]) -> None:
        """Answer as the signed-in user."""
        path = f"{question.task.path}/{question.task.map_index}/hitlDetails"
        self._call("PATCH", path, json={"chosen_options": [option], "params_input": dict(params)})

    def log(self, task: Task) -> str:
        """What the task's last attempt logged, one message a line, without the marks that fold a log in Airflow's UI."""
        query = {"full_content": True, "map_index": task.map_index}
        content = self._call("GET", f"{task.path}/logs/{max(task.try_number, 1)}", params=query)["content"]
        lines = (_line(item) for item in content)
        return "\n".join(line for line in lines if not line.startswith("::"))

    def _call(self, method: str, path: str, **kwargs: Any) -> Any:
        try:
            self._sign_in()
            response = self._request(method, path, **kwargs)
        except httpx.HTTPError as error:
            raise OutsideError(
                f"Airflow at {self._client.base_url} did not answer {method} {path}: {error!r}"
            ) from error
        if response.is_error:
            raise OutsideError(
                f"Airflow refused {method} {path} for {self.user}: {response.status_code} {response.text[:500]}"
            )
        return response.json()

    def _request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Ask; a question (GET) that a busy server does not answer in time is asked again, an order never."""
        for _ in range(ATTEMPTS - 1 if method == "GET" else 0):
            with suppress(httpx.TimeoutException):
                return self._client.request(method, f"/api/v2{path}", **kwargs)
        return self._client.request(method, f"/api/v2{path}", **kwargs)

    def _sign_in(self) -> None:
        """Get a token once; it lasts a day."""
        if "Authorization" not in self._client.headers:
            response = self._client.post("/auth/token", json=self._login).raise_for_status()
            self._client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


class Sessions:
    """The signed-in users of one Airflow; each signs in when first needed."""

    def __init__(self, url: str, passwords: Mapping[str, str]) -> None:
        self._url = url
        self._passwords = passwords
        self._open: dict[str, AirflowApi] = {}

    def __getitem__(self, user: str) -> AirflowApi:
        """The session of ``user``; raises :class:`KeyError` for one without a password."""
        if user not in self._open:
            self._open[user] = AirflowApi(self._url, user=user, password=self._passwords[user])
        return self._open[user]


@dataclass
class Readiness:
    """Whether Airflow can run a task; asked again and again while it starts.

    All four of its parts must call themselves healthy, and two things that its health says nothing of must hold: the scheduler's loop
    goes round (its first heartbeat comes before its executor has started), and the execution API answers (it is built on the first
    call, which takes seconds that the first task would wait for).
    """

    url: str
    _first_heartbeat: str = field(init=False, default="")

    def __call__(self) -> bool:
        """Ask once."""
        try:
            parts = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5, trust_env=False).json()
            names = ("metadatabase", "scheduler", "dag_processor", "triggerer")
            if not all((parts.get(name) or {}).get("status") == "healthy" for name in names):
                return False
            heartbeat = str(parts["scheduler"].get("latest_scheduler_heartbeat"))
            self._first_heartbeat = self._first_heartbeat or heartbeat
            if heartbeat == self._first_heartbeat:
                return False
            return httpx.get(f"{self.url}/execution/health", timeout=30, trust_env=False).is_success
        except (httpx.HTTPError, ValueError):
            return False


def _task(item: Mapping[str, Any]) -> Task:
    return Task(
        dag_id=item["dag_id"],
        run_id=item["dag_run_id"],
        task_id=item["task_id"],
        map_index=item["map_index"],
        state=item["state"],
        try_number=item["try_number"],
    )


def _question(item: Mapping[str, Any]) -> Question:
    return Question(
        task=_task(item["task_instance"]),
        subject=item["subject"],
        options=tuple(item["options"]),
        params=item.get("params") or {},
        asked=tuple(user["id"] for user in item.get("assigned_users") or ()),
    )


def _line(item: Any) -> str:
    """A log record as one line: its message, and the error it carries, if any."""
    if not isinstance(item, Mapping):
        return str(item)
    details = item.get("error_detail") or ()
    errors = [f"{detail.get('exc_type')}: {detail.get('exc_value')}" for detail in details]
    return "  ".join([str(item.get("event", "")), *errors])
