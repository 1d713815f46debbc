"""A real Airflow on a throw-away SQLite database: its REST API as several signed-in people, and runs in ``dag.test()``.

The environment is set before anything imports Airflow, which reads it once.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
HOME = Path(tempfile.mkdtemp(prefix="seedbank-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
PEOPLE = {
    "admin": "admin",
    "mia": "op",
    "alice": "user",
    "bob": "user",
    "carol": "user",
    "robo": "user",
    "vic": "viewer",
}
"""Who can sign in, and in which role. Mia asks for images; Carol is not on the roster; Vic may only look."""

HOME.joinpath("passwords.json").write_text(json.dumps({who: who for who in PEOPLE}))
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{who}:{role}" for who, role in PEOPLE.items()),
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(HOME / "passwords.json"),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME / 'airflow.db'}",
    "AIRFLOW__API_AUTH__JWT_SECRET": "not a secret: this server lives in one test process and answers nobody else " * 2,
    "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(HOME / "logs"),
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}

import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
import yaml  # noqa: E402

from seedbank.bank import Bank  # noqa: E402
from seedbank.review.records import Dossier  # noqa: E402
from seedbank.settings import Settings  # noqa: E402
from support.trials import make_trial, write_roster  # noqa: E402

PATIENCE = 60.0
"""Seconds a test waits for a task to reach a state."""
REASON = "The wings are there and nothing is copied."


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """A migrated database."""
    from airflow.utils.db import initdb

    initdb()
    return HOME


@pytest.fixture(scope="session")
def dag_bag() -> Any:
    """All DAG files, parsed as Airflow's processor parses them."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(PROJECT / "dags"))


@dataclass
class Airflow:
    """The API server, in this process."""

    client: Any
    tokens: dict[str, str] = field(default_factory=dict)

    def call(self, who: str | None, method: str, path: str, **kwargs: Any) -> Any:
        """One request in the name of ``who`` (nobody: not signed in)."""
        headers = {"Authorization": f"Bearer {self.token(who)}"} if who else {}
        return self.client.request(method, path, headers=headers, **kwargs)

    def token(self, who: str) -> str:
        """Sign in once."""
        if who not in self.tokens:
            response = self.client.post("/auth/token", json={"username": who, "password": who})
            self.tokens[who] = response.json()["access_token"]
        return self.tokens[who]


@pytest.fixture(scope="session")
def airflow(airflow_home: Path) -> Iterator[Airflow]:
    """The API server with everything it mounts: REST API, execution API, plugins."""
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    with TestClient(create_app(apps="all"), base_url="http://127.0.0.1:8080") as client:
        yield Airflow(client)


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """An empty bank that tasks find through the environment, with a roster and one concept."""
    monkeypatch.setenv("SEEDBANK_HOME", str(tmp_path))
    monkeypatch.setenv("SEEDBANK_CONCEPTS", str(tmp_path / "concepts"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{HOME / 'mlflow.db'}")  # migrated once, which takes 10 s
    for name in ("STORE", "ROSTER", "KEYS", "MLFLOW_URL", "ACTOR"):
        monkeypatch.delenv(f"SEEDBANK_{name}", raising=False)
    settings = Settings.from_env()
    settings.concepts.mkdir()
    settings.concepts.joinpath("wingnut.yaml").write_text(
        yaml.safe_dump({"name": "wingnut", "prompt": "a photo of a wingnut", "owner": "mia"})
    )
    people = {who: {"name": f"{who.title()} Example"} for who in ("alice", "bob", "mia")}
    write_roster(settings, people | {"robo": {"name": "Robo Example", "scripted": True}})
    return Bank.open(settings)


@dataclass
class Room:
    """What people outside see and do while a run of ``release_review`` goes on."""

    airflow: Airflow
    concept: str
    run_id: str = ""

    @property
    def run(self) -> str:
        """The run's path in the API."""
        return f"/api/v2/dags/release_review/dagRuns/{self.run_id}"

    def states(self) -> dict[str, str | None]:
        """State of every task."""
        tasks = self.airflow.call("admin", "GET", f"{self.run}/taskInstances").json()["task_instances"]
        return {task["task_id"]: task["state"] for task in tasks}

    def wait(self, task: str, *states: str) -> None:
        """Wait until ``task`` is in one of ``states``."""
        deadline = time.monotonic() + PATIENCE
        while self.states().get(task) not in states:
            assert time.monotonic() < deadline, f"{task} did not become {states}: {self.states()}"
            time.sleep(0.1)

    def announced(self) -> list[dict[str, Any]]:
        """The asset events of the run."""
        query = {"source_dag_id": "release_review", "source_run_id": self.run_id}
        return list(self.airflow.call("admin", "GET", "/api/v2/assets/events", params=query).json()["asset_events"])

    def question(self, seat: int) -> dict[str, Any]:
        """What the form of a seat says."""
        return dict(self.airflow.call("admin", "GET", f"{self.run}/taskInstances/seat_{seat}/-1/hitlDetails").json())

    def asks(self, seat: int) -> dict[str, Any]:
        """Wait until a seat asks; the form."""
        self.wait(f"seat_{seat}", "awaiting_input")
        return self.question(seat)

    def asked_again(self, seat: int) -> None:
        """Wait until a seat has put an answer aside and asks anew."""
        deadline = time.monotonic() + PATIENCE
        while self.question(seat)["response_received"] or self.states()[f"seat_{seat}"] != "awaiting_input":
            assert time.monotonic() < deadline, f"seat {seat} did not ask again: {self.states()}"
            time.sleep(0.1)

    def answer(self, who: str | None, seat: int, verdict: str = "Publish", *, reason: str = REASON, **body: Any) -> Any:
        """Answer the form as ``who``; the response."""
        option = next(option for option in self.question(seat)["options"] if option.startswith(verdict))
        payload = {"chosen_options": [option], "params_input": {"reason": reason}} | body
        return self.airflow.call(who, "PATCH", f"{self.run}/taskInstances/seat_{seat}/-1/hitlDetails", json=payload)

    def mark(self, who: str, task: str, state: str) -> Any:
        """Set a task's state by hand, as the UI's "Mark as" does."""
        return self.airflow.call(who, "PATCH", f"{self.run}/taskInstances/{task}", json={"new_state": state})

    def forge_xcom(self, who: str, task: str, value: object) -> Any:
        """Write a task's return value by hand."""
        entry = {"key": "return_value", "value": value}
        return self.airflow.call(who, "POST", f"{self.run}/taskInstances/{task}/xcomEntries", json=entry)


@pytest.fixture
def review(airflow: Airflow, dag_bag: Any, bank: Bank) -> Callable[..., dict[str, str | None]]:
    """Run ``release_review`` in ``dag.test()`` while ``people`` act from another thread; the tasks' final states."""

    def run(people: Callable[[Room], None], **conf: Any) -> dict[str, str | None]:
        room, failures = Room(airflow, conf.get("concept", "wingnut")), list[BaseException]()
        before = _runs(airflow)

        def act() -> None:
            try:
                room.run_id = _new_run(airflow, before)
                people(room)
            except BaseException as error:
                failures.append(error)
                for task in room.states():  # or dag.test() would wait for ever
                    room.mark("admin", task, "failed")

        thread = threading.Thread(target=act)
        thread.start()
        dag_bag.dags["release_review"].test(run_conf={"concept": "wingnut"} | conf)
        thread.join()
        if failures:
            raise failures[0]
        return room.states()

    return run


def _runs(airflow: Airflow) -> set[str]:
    query = {"order_by": "-run_after", "limit": 100}
    response = airflow.call("admin", "GET", "/api/v2/dags/release_review/dagRuns", params=query)
    return {run["dag_run_id"] for run in response.json().get("dag_runs", ())}


def _new_run(airflow: Airflow, before: set[str]) -> str:
    deadline = time.monotonic() + PATIENCE
    while not (new := _runs(airflow) - before):
        assert time.monotonic() < deadline, "dag.test() created no run"
        time.sleep(0.1)
    return new.pop()


@pytest.fixture
def dossier(bank: Bank) -> Dossier:
    """A frozen dossier of ``wingnut``, asked for by Mia, with everything that a release of it needs."""
    return make_trial(bank).dossier()
