"""The REST client and the gate against a server that speaks Airflow's API on a real socket. The e2e test meets the real one."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from seedbank.demo import gate as gate_module
from seedbank.demo.airflow_api import AirflowApi, Question, Readiness, Sessions, Task
from seedbank.demo.gate import Gate, page
from seedbank.demo.home import DemoHome
from seedbank.demo.progress import Progress
from seedbank.errors import OutsideError

QUESTION = {
    "task_instance": {
        "dag_id": "release_review",
        "dag_run_id": "asset__2026-11-24T10:00:00+00:00",
        "task_id": "seat_1",
        "map_index": -1,
        "state": "awaiting_input",
        "try_number": 1,
    },
    "subject": "Seat 1 of 2: publish 8 images of wingnut?",
    "options": ["Publish 0123", "Reject 0123"],
    "params": {"reason": {"value": ""}},
    "assigned_users": [{"id": "bob", "name": "Bob"}],
}


@dataclass
class FakeAirflow:
    """What the server answers, by method and path, and what it was asked."""

    url: str = ""
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    fake = FakeAirflow(answers={("POST", "/auth/token"): (201, {"access_token": "t"})})

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            fake.asked.append((self.command, path, json.loads(body) if body else None))
            status, value = fake.answers.get((self.command, path), (404, {"detail": "no such thing"}))
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(file=io.StringIO(), soft_wrap=True))


@pytest.fixture
def home(tmp_path: Path) -> DemoHome:
    home = DemoHome(tmp_path / "home", tmp_path, airflow_port=1, mlflow_port=2)
    home.root.mkdir()
    home.prepare((), scripted=True)
    return home


def question() -> Question:
    task = Task("release_review", QUESTION["task_instance"]["dag_run_id"], "seat_1", -1, "awaiting_input", 1)
    return Question(task, QUESTION["subject"], tuple(QUESTION["options"]), QUESTION["params"], ("bob",))


def printed(progress: Progress) -> str:
    assert isinstance(progress.console.file, io.StringIO)
    return progress.console.file.getvalue()


def test_a_session_signs_in_once(airflow: FakeAirflow) -> None:
    airflow.answers["GET", "/api/v2/dags"] = (200, {"dags": [{"dag_id": "release_review"}]})
    mia = Sessions(airflow.url, {"mia": "secret"})
    assert mia["mia"].dag_ids() == mia["mia"].dag_ids() == {"release_review"}
    assert [asked for asked in airflow.asked if asked[0] == "POST"] == [
        ("POST", "/auth/token", {"username": "mia", "password": "secret"})
    ]


def test_a_run_is_triggered_for_a_partition(airflow: FakeAirflow) -> None:
    airflow.answers["POST", "/api/v2/dags/seed_optimisation/dagRuns"] = (200, {"dag_run_id": "manual__1"})
    api = AirflowApi(airflow.url, user="mia", password="")
    assert api.trigger("seed_optimisation", partition="wingnut") == "manual__1"
    assert airflow.asked[-1][2] == {"logical_date": None, "conf": {}, "partition_key": "wingnut"}


def test_a_refusal_says_who_was_refused_what(airflow: FakeAirflow) -> None:
    airflow.answers["GET", "/api/v2/dags"] = (403, {"detail": "Forbidden"})
    with pytest.raises(OutsideError, match=r"Airflow refused GET /dags for mia: 403 .*Forbidden"):
        AirflowApi(airflow.url, user="mia", password="").dag_ids()


def test_an_airflow_that_is_gone_is_an_outside_error() -> None:
    with pytest.raises(OutsideError, match="did not answer GET /dags"):
        AirflowApi("http://127.0.0.1:1", user="mia", password="").dag_ids()
    assert not Readiness("http://127.0.0.1:1")()


HEALTHY = {name: {"status": "healthy"} for name in ("metadatabase", "dag_processor", "triggerer", "scheduler")}


def says_healthy(airflow: FakeAirflow, beat: int, **parts: Any) -> None:
    """Let the server's health be good at this heartbeat of the scheduler, but for ``parts``."""
    scheduler = {"status": "healthy", "latest_scheduler_heartbeat": f"2026-12-01T12:00:0{beat}Z"}
    airflow.answers["GET", "/api/v2/monitor/health"] = (200, {**HEALTHY, "scheduler": scheduler, **parts})


@pytest.mark.parametrize(("state", "expected"), [("healthy", True), ("unhealthy", False), (None, False)])
def test_ready_means_all_four_parts(airflow: FakeAirflow, state: str | None, expected: bool) -> None:
    airflow.answers["GET", "/execution/health"] = (200, {"status": "healthy"})
    ready = Readiness(airflow.url)
    for beat in (1, 2):
        says_healthy(airflow, beat, triggerer={"status": state})
        answer = ready()
    assert answer is expected


def test_ready_means_that_the_schedulers_loop_goes_round(airflow: FakeAirflow) -> None:
    airflow.answers["GET", "/execution/health"] = (200, {"status": "healthy"})
    ready = Readiness(airflow.url)
    answers = []
    for beat in (1, 1, 2):
        says_healthy(airflow, beat)
        answers.append(ready())
    assert answers == [False, False, True]


def test_ready_means_that_tasks_are_answered(airflow: FakeAirflow) -> None:
    ready = Readiness(airflow.url)
    for beat in (1, 2):
        says_healthy(airflow, beat)
        assert not ready()
    airflow.answers["GET", "/execution/health"] = (200, {"status": "healthy"})
    assert ready()


def test_questions_are_read_with_who_may_answer(airflow: FakeAirflow) -> None:
    airflow.answers["GET", "/api/v2/dags/~/dagRuns/~/hitlDetails"] = (200, {"hitl_details": [QUESTION]})
    assert AirflowApi(airflow.url, user="mia", password="").questions() == [question()]


def test_a_log_is_read_with_the_errors_in_it(airflow: FakeAirflow) -> None:
    records = [
        {"event": "::group::Pre Execute"},
        {"event": "searching"},
        {"event": "failed", "error_detail": [{"exc_type": "OSError", "exc_value": "disk"}]},
    ]
    airflow.answers["GET", "/api/v2/dags/d/dagRuns/r/taskInstances/t/logs/2"] = (200, {"content": records})
    task = Task("d", "r", "t", -1, "failed", 2)
    assert AirflowApi(airflow.url, user="mia", password="").log(task) == "searching\nfailed  OSError: disk"


def test_a_script_answers_once_as_somebody_who_was_asked(
    airflow: FakeAirflow, home: DemoHome, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/api/v2/dags/release_review/dagRuns/{question().task.run_id}/taskInstances/seat_1/-1/hitlDetails"
    airflow.answers["PATCH", path] = (200, {})
    gate = Gate(home, Sessions(airflow.url, home.passwords()), progress, scripted=True)
    gate.see_to(question())
    assert airflow.asked == []  # too early: the question has not settled
    monkeypatch.setattr(gate_module, "SETTLE_SECONDS", 0.0)
    gate.see_to(question())
    gate.see_to(question())
    (signed_in, answered) = airflow.asked
    assert signed_in[2]["username"] == "bob"
    assert answered[2]["chosen_options"] == ["Publish 0123"]
    assert "no person looked" in answered[2]["params_input"]["reason"]


def caused_by(airflow: FakeAirflow, *events: dict[str, Any]) -> None:
    path = f"/api/v2/dags/release_review/dagRuns/{question().task.run_id}/upstreamAssetEvents"
    airflow.answers["GET", path] = (200, {"asset_events": list(events)})


def test_what_caused_a_run_is_its_newest_event(airflow: FakeAirflow) -> None:
    api = AirflowApi(airflow.url, user="mia", password="")
    caused_by(airflow)
    assert api.cause("release_review", question().task.run_id) == {}
    old, new = ({"timestamp": f"2026-11-24T10:00:0{second}Z", "extra": {"trial": str(second)}} for second in (1, 2))
    caused_by(airflow, new, old)
    assert api.cause("release_review", question().task.run_id) == {"trial": "2"}


def test_people_are_shown_the_run_of_the_search_in_mlflow(
    airflow: FakeAirflow, home: DemoHome, progress: Progress
) -> None:
    run = f"experiments/1/runs/{'ab' * 16}"
    caused_by(airflow, {"timestamp": "2026-11-24T10:00:00Z", "extra": {"mlflow_run": run}})
    Gate(home, Sessions(airflow.url, home.passwords()), progress, scripted=False).see_to(question())
    assert f"{home.mlflow_url}/#/{run}?workflowType=machine_learning" in printed(progress)


def test_people_are_invited_once_with_address_and_password(
    airflow: FakeAirflow, home: DemoHome, progress: Progress
) -> None:
    caused_by(airflow)  # nothing: the review was opened by hand
    gate = Gate(home, Sessions(airflow.url, home.passwords()), progress, scripted=False)
    gate.see_to(question())
    gate.see_to(question())
    text = printed(progress)
    assert text.count(page(home.airflow_url, question().task)) == 1
    assert home.passwords()["bob"] in text
    assert home.passwords()["alice"] not in text  # she was not asked
    assert f"in MLflow:\n    {home.mlflow_url}\n" in text


def test_an_answer_that_is_asked_for_again_ends_a_scripted_demo(
    home: DemoHome, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(home, Sessions("http://127.0.0.1:1", home.passwords()), progress, scripted=True)
    gate.see_to(question())
    monkeypatch.setattr(gate_module, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(OutsideError, match="was not taken; the log of seat_1 says why"):
        gate.see_to(question())
