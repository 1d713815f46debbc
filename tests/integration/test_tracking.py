"""Trials in a real MLflow server, on loopback, and in a new SQLite file: whole, once, and wherever a process is killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from seedbank.errors import OutsideError, UsageError
from seedbank.release.publish import publish
from seedbank.review.decisions import approved
from seedbank.selection.seeds import Seed
from seedbank.storage import LocalStore
from seedbank.tracking.client import COMPLETE, PARAMS_KEPT
from seedbank.tracking.contents import KIND, START, TRIAL, image_name
from seedbank.tracking.log import log_decision, log_release, log_trial, logged_address
from support.proxy import Proxy, When, proxy
from support.trials import CONCEPT, Made, make_bank, make_trial

pytestmark = pytest.mark.integration
STARTS, ITERATIONS, PICTURES = 2, 11, 3
TERMS = {"objective", "semantic", "appearance", "guard", "cosine_to_start", "norm_z", "whiteness", "gradient_norm"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running ``mlflow server``."""
    home, port = tmp_path_factory.mktemp("mlflow"), _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{home / 'mlflow.db'}",
        "--artifacts-destination",
        str(home / "artifacts"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_healthy(url, process, home / "log")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 270
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    pytest.fail(f"MLflow did not start: {log.read_text()[-2000:]}")


@pytest.fixture
def client(server: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server)


@pytest.fixture
def made(server: str, tmp_path: Path, request: pytest.FixtureRequest) -> Made:
    """A trial that no other test has logged: its key comes from the test's name."""
    number = uuid.uuid5(uuid.NAMESPACE_OID, request.node.name).int % 100_000
    return make_trial(make_bank(tmp_path, tracking_uri=server), starts=STARTS, iterations=ITERATIONS, number=number)


@dataclass(frozen=True)
class Logged:
    """Everything about a trial that MLflow has."""

    whole: Any
    starts: list[Any]
    artifacts: dict[str, list[str]] = field(default_factory=dict)


def read(client: Any, made: Made) -> Logged:
    experiment = client.get_experiment_by_name(f"seedbank/{CONCEPT}").experiment_id
    runs = client.search_runs(
        [experiment], f"tags.`{TRIAL}` = '{made.trial.key}'", order_by=["attributes.start_time ASC"]
    )
    (whole,) = [run for run in runs if run.data.tags[KIND] == "trial"]
    starts = [run for run in runs if run.data.tags[KIND] == "start"]
    return Logged(whole, starts, {run.info.run_id: sorted(_files(client, run.info.run_id)) for run in runs})


def _files(client: Any, run: str, folder: str | None = None) -> Iterator[str]:
    for item in client.list_artifacts(run, folder):
        yield from _files(client, run, item.path) if item.is_dir else [item.path]


def curves(client: Any, run: Any) -> dict[str, list[tuple[int, float]]]:
    return {
        term: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, term)]
        for term in TERMS
    }


def assert_complete(client: Any, made: Made) -> Logged:
    """Every run, curve and picture of the trial is there, and each once."""
    logged = read(client, made)
    assert {run.data.tags[START] for run in logged.starts} == {item.start for item in made.trial.candidates}
    assert len(logged.starts) == STARTS
    for run in (logged.whole, *logged.starts):
        assert (run.info.status, run.data.tags[COMPLETE]) == ("FINISHED", "true")
    for run in logged.starts:
        found = curves(client, run)
        assert [step for step, _ in found["objective"]] == list(range(ITERATIONS))
        assert [step for step, _ in found["guard"]] == list(range(0, ITERATIONS, 2))
        assert [step for step, _ in found["gradient_norm"]] == list(range(ITERATIONS - 1))
        pictures = [name for name in logged.artifacts[run.info.run_id] if name.startswith("images/")]
        assert len(pictures) == 2 * PICTURES
        assert {int(re.findall(r"\+step\+(\d+)\+", name)[0]) for name in pictures} == {0, 5, 10}
    return logged


def test_a_trial_is_one_run_with_one_below_it_for_each_start(made: Made, client: Any, server: str) -> None:
    photos_folder = f"reference-sets/{made.trial.reference_set}"
    for page in ("report.html", "data-docs/index.html"):
        made.bank.store.put(f"{photos_folder}/{page}", b"<p>the photos</p>")
    address = log_trial(made.bank, made.trial)
    logged = assert_complete(client, made)
    run = logged.whole.info.run_id
    assert address == f"experiments/{logged.whole.info.experiment_id}/runs/{run}"
    assert logged_address(made.bank, CONCEPT, made.trial.key) == address
    assert {item.data.tags["mlflow.parentRunId"] for item in logged.starts} == {run}
    params, tags = logged.whole.data.params, logged.whole.data.tags
    assert (params["reference_set"], params["model.content"]) == (made.trial.reference_set, made.trial.model.content)
    assert (params["recipe.name"], params["sampler.num_inference_steps"]) == ("balanced", "20")
    assert params["software.torch"] == made.trial.software["torch"]
    assert tags["seedbank.trial_digest"] == made.trial.digest
    metrics = logged.whole.data.metrics
    assert (metrics["accepted"], metrics["pool/size"], metrics["cost/network_evaluations"]) == (1, 64, 1234)
    assert logged.artifacts[run] == [
        "environment.json",
        "references.json",
        "references/data-docs/index.html",
        "references/report.html",
        "sheet.png",
        "trial.json",
    ]
    assert tags["seedbank.reference_report"] == f"{made.bank.store.url}/{photos_folder}/report.html"
    assert tags["seedbank.data_docs"] == f"{made.bank.store.url}/{photos_folder}/data-docs/index.html"
    (photos,) = logged.whole.inputs.dataset_inputs
    assert photos.dataset.digest == made.trial.reference_set[:32]


def test_a_start_has_its_seed_as_text_and_as_a_file(made: Made, client: Any, tmp_path: Path) -> None:
    log_trial(made.bank, made.trial)
    for run in read(client, made).starts:
        (candidate,) = [item for item in made.trial.candidates if item.start == run.data.tags[START]]
        assert run.data.params["seed"] == candidate.seed
        assert int(run.data.params["start_integer"]) >= 2**63
        path = client.download_artifacts(run.info.run_id, "seeds/seed.safetensors", str(tmp_path))
        assert Seed.from_safetensors(Path(path).read_bytes()).digest == candidate.seed
        assert run.data.metrics["final/guard"] == candidate.scores.guard


def run_of(address: str) -> str:
    return address.rpartition("/")[2]


def test_logging_again_adds_nothing(made: Made, client: Any) -> None:
    first = log_trial(made.bank, made.trial)
    before = assert_complete(client, made)
    assert log_trial(made.bank, made.trial) == first
    after = assert_complete(client, made)
    assert after.artifacts == before.artifacts


def test_whoever_asked_since_is_named_when_it_is_logged_again(made: Made, client: Any) -> None:
    log_trial(made.bank, made.trial)
    made.bank.request("trial", concept=CONCEPT, subject=made.trial.reference_set, requested_by=["zoe"])
    log_trial(made.bank, made.trial)
    assert "zoe" in read(client, made).whole.data.tags["seedbank.requested_by"].split(", ")


def test_a_start_that_was_written_but_not_finished_is_written_over(made: Made, client: Any) -> None:
    log_trial(made.bank, made.trial)
    logged = read(client, made)
    for run in (logged.whole, logged.starts[0]):
        client.set_tag(run.info.run_id, COMPLETE, "false")
    log_trial(made.bank, made.trial)
    assert assert_complete(client, made).artifacts == logged.artifacts


def test_two_trials_of_a_concept_are_two_runs(made: Made, client: Any) -> None:
    other = make_trial(made.bank, starts=STARTS, number=200_000)
    assert log_trial(made.bank, made.trial) != log_trial(made.bank, other.trial)
    assert_complete(client, made)


def test_our_pictures_are_named_as_mlflow_names_its_own(made: Made, client: Any) -> None:
    """The image grid finds pictures by their names; an MLflow that names them otherwise must be noticed here."""
    from PIL import Image

    run = run_of(log_trial(made.bank, made.trial))
    client.log_image(run, Image.new("RGB", (8, 8)), key="theirs", step=7, timestamp=123, synchronous=True)
    theirs = sorted(_files(client, run, "images"))
    unique = uuid.UUID(theirs[0].partition("+123+")[2][:36])
    ours = image_name("theirs", step=7, time_ms=123, unique=unique)
    assert theirs == [f"{ours}+compressed.webp", f"{ours}.png"]
    shown = {run.info.run_id: run.data.tags["mlflow.loggedImages"].lower() for run in read(client, made).starts}
    assert set(shown.values()) == {client.get_run(run).data.tags["mlflow.loggedImages"].lower()} == {"true"}


def test_decisions_and_releases_are_tags_of_the_trial(made: Made, client: Any) -> None:
    dossier = made.approve()
    decisions = approved(made.bank, dossier).decisions
    with pytest.raises(UsageError, match="is not in MLflow; run `seedbank log wingnut` first"):
        log_decision(made.bank, decisions[0])
    run = run_of(log_trial(made.bank, made.trial))
    for decision in decisions:
        log_decision(made.bank, decision)
    release = publish(made.bank, dossier.digest)
    log_release(made.bank, release)
    tags = client.get_run(run).data.tags
    assert tags["seedbank.seat_1"] == "publish (alice): looks like the part"
    assert tags["seedbank.release"] == release.folder


def test_a_server_that_is_down_is_noticed_within_seconds(tmp_path: Path) -> None:
    made = make_trial(make_bank(tmp_path, tracking_uri=f"http://127.0.0.1:{_free_port()}"), starts=1)
    start = time.monotonic()
    with pytest.raises(OutsideError, match="see that it runs and log again: nothing is logged twice"):
        log_trial(made.bank, made.trial)
    assert time.monotonic() - start < 40  # 15 s on an idle machine, most of it MLflow's import


FORK = multiprocessing.get_context("fork")


class Logging:
    """``log_trial`` in processes of its own, which start together."""

    def __init__(self, made: Made, *, processes: int = 1) -> None:
        self.answers, gate = FORK.SimpleQueue(), FORK.Barrier(processes)
        self.processes = [FORK.Process(target=self._log, args=(made, gate)) for _ in range(processes)]

    def start(self) -> Logging:
        for process in self.processes:
            process.start()
        return self

    def _log(self, made: Made, gate: Any) -> None:
        gate.wait()
        try:
            self.answers.put(log_trial(made.bank, made.trial))
        except OutsideError as error:
            self.answers.put(str(error))

    def kill(self) -> None:
        for process in self.processes:
            if process.pid:
                process.kill()

    def wait(self) -> list[str]:
        """What they answered, addresses or errors; less where they were killed."""
        for process in self.processes:
            process.join(240)
            assert process.exitcode in {0, -signal.SIGKILL}
        answers = []
        while not self.answers.empty():
            answers.append(self.answers.get())
        return answers


@pytest.fixture
def between(server: str) -> Iterator[Proxy]:
    """A proxy that stands between us and the server."""
    with proxy(server.removeprefix("http://")) as standing:
        yield standing


def through(made: Made, standing: Proxy) -> Made:
    settings = replace(made.bank.settings, tracking_uri=f"http://{standing.endpoint}")
    return replace(made, bank=replace(made.bank, settings=settings))


def other_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of torch is installed, as far as anybody can tell."""
    (folder / "torch-99.0.dist-info").mkdir(parents=True)
    (folder / "torch-99.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(folder)
    assert version("torch") == "99.0"


def test_killed_before_it_was_finished_and_resumed_with_another_library_it_says_what_the_trial_ran_with(
    made: Made, client: Any, between: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[int] = []

    def kill_at_the_last_end(when: When, number: int) -> None:
        if when == "asked" and between.seen[-1][1].endswith("runs/update"):
            ends.append(number)
            if len(ends) == STARTS + 1:  # the trial's own run is finished last
                killed.kill()

    killed = Logging(through(made, between))
    between.watch = kill_at_the_last_end
    assert killed.start().wait() == []
    other_torch(tmp_path / "site", monkeypatch)
    log_trial(made.bank, made.trial)
    logged = assert_complete(client, made).whole.data
    assert logged.params["software.torch"] == made.trial.software["torch"] != "99.0"
    assert PARAMS_KEPT not in logged.tags


def kill_at(made: Made, standing: Proxy, when: When, request: int) -> None:
    """Log, and be killed when so many requests were asked or answered."""
    killed = Logging(through(made, standing))
    standing.seen.clear()
    standing.watch = lambda now, number: killed.kill() if (now, number) == (when, request) else None
    assert killed.start().wait() == []


@pytest.mark.parametrize("when", ["asked", "answered"])
def test_killed_at_one_request_after_another_it_is_finished_and_nothing_is_there_twice(
    made: Made, client: Any, between: Proxy, when: When
) -> None:
    for request in (1, 2, 3, 5, 8, 10, 13, 20):  # each time it gets a bit further
        kill_at(made, between, when, request)
    between.watch = lambda _when, _number: None
    log_trial(made.bank, made.trial)
    assert_complete(client, made)


def test_parameters_that_were_logged_otherwise_stay_and_that_is_said(made: Made, client: Any) -> None:
    run = run_of(log_trial(made.bank, made.trial))
    client.set_tag(run, COMPLETE, "false")
    log_trial(made.bank, made.trial.model_copy(update={"code_version": "0.2.0"}))
    logged = assert_complete(client, made).whole
    assert logged.data.params["code_version"] == "0.1.0"
    assert logged.data.tags[PARAMS_KEPT] == "code_version: 0.1.0 kept, 0.2.0 when logged again"


@pytest.mark.parametrize("number", range(3))
def test_processes_that_log_one_trial_at_once_leave_one_run(made: Made, client: Any, number: int) -> None:
    answers = Logging(made, processes=3).start().wait()
    logged = assert_complete(client, made)
    assert {run_of(answer) for answer in answers} == {logged.whole.info.run_id}
    assert len(answers) == 3


def test_two_first_logs_at_once_make_one_new_database(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    made = make_trial(make_bank(tmp_path, tracking_uri=uri), starts=STARTS, iterations=ITERATIONS)
    answers = Logging(made, processes=2).start().wait()
    logged = assert_complete(MlflowClient(tracking_uri=uri), made)
    assert [run_of(answer) for answer in answers] == [logged.whole.info.run_id] * 2


@pytest.mark.parametrize("request_number", [4, 9, 15])
def test_a_server_that_goes_away_in_the_middle_is_one_error_and_the_next_log_finishes(
    made: Made, client: Any, between: Proxy, request_number: int
) -> None:
    def go_away(_when: When, number: int) -> None:
        if number == request_number:
            between.orders[:] = ["cut before"] * 1000

    between.watch = go_away
    (error,) = Logging(through(made, between)).start().wait()
    assert re.fullmatch(r"cannot log to MLflow at http://.*; see that it runs and log again: .*", error)
    log_trial(made.bank, made.trial)
    assert_complete(client, made)


def test_a_run_that_was_deleted_is_made_anew_over_the_starts_that_are_there(made: Made, client: Any) -> None:
    first = log_trial(made.bank, made.trial)
    client.delete_run(run_of(first))
    second = log_trial(made.bank, made.trial)
    logged = assert_complete(client, made)
    assert second != first
    assert {run.data.tags["mlflow.parentRunId"] for run in logged.starts} == {run_of(second)}
    assert logged_address(made.bank, CONCEPT, made.trial.key) == second


def test_another_server_has_a_run_of_its_own_and_the_first_keeps_its(made: Made, client: Any, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    first = log_trial(made.bank, made.trial)
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    elsewhere = replace(made.bank, settings=replace(made.bank.settings, tracking_uri=uri))
    second = log_trial(elsewhere, made.trial)
    assert second != first
    assert_complete(MlflowClient(tracking_uri=uri), made)
    assert log_trial(made.bank, made.trial) == first


def test_what_the_environment_says_to_mlflow_diverts_nothing(made: Made, client: Any, tmp_path: Path) -> None:
    """On the command line, where the environment is read; only the server and its credentials are taken from it."""
    other = client.create_experiment(f"other {tmp_path}")
    bait = client.create_run(other).info.run_id
    environment = {
        **os.environ,
        "SEEDBANK_HOME": str(made.bank.settings.home),
        "SEEDBANK_CONCEPTS": str(made.bank.settings.concepts),
        "MLFLOW_TRACKING_URI": made.bank.settings.tracking_uri,
        "MLFLOW_RUN_ID": bait,
        "MLFLOW_EXPERIMENT_ID": other,
        "MLFLOW_EXPERIMENT_NAME": "another",
        "MLFLOW_ACTIVE_MODEL_ID": "m-0",
        "MLFLOW_TRACKING_DIR": str(tmp_path / "dir"),
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
        "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true",
    }
    command = [sys.executable, "-m", "seedbank", "log", CONCEPT, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    logged = assert_complete(client, made)
    assert answer["run"] == logged.whole.info.run_id
    assert answer["url"] == (
        f"{made.bank.settings.tracking_uri}/#/experiments/{logged.whole.info.experiment_id}/runs/{answer['run']}"
        "?workflowType=machine_learning"
    )
    untouched = client.get_run(bait).data
    assert (untouched.params, untouched.metrics) == ({}, {})
    assert [run.info.run_id for run in client.search_runs([other])] == [bait]
    assert client.get_experiment_by_name("another") is None


def test_each_blob_is_read_once(made: Made) -> None:
    @dataclass(frozen=True)
    class Counting(LocalStore):
        reads: list[str] = field(default_factory=list)

        def get(self, key: str) -> bytes:
            data = super().get(key)
            self.reads.append(key)
            return data

    assert isinstance(made.bank.store, LocalStore)
    store = Counting(made.bank.store.root)
    log_trial(replace(made.bank, store=store), made.trial)
    blobs = [key for key in store.reads if not key.startswith("tracking/")]
    assert len(blobs) > 20
    assert sorted(blobs) == sorted(set(blobs))


def test_mlflow_still_asks_the_address_which_pages_to_show() -> None:
    """Whether the pages open on the runs only a browser can tell; that they look at this parameter is in their scripts."""
    import mlflow.server

    scripts = Path(mlflow.server.__file__).parent / "js" / "build" / "static" / "js"
    main = "".join(path.read_text(errors="replace") for path in scripts.glob("main.*.js"))
    assert '.MACHINE_LEARNING="machine_learning"' in main
    assert '.get("workflowType")' in main
