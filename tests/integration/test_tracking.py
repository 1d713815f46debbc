"""Trials in a real MLflow server: SQLite, on loopback."""

from __future__ import annotations

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
from pathlib import Path
from typing import Any

import httpx
import pytest

from seedbank.bank import Bank
from seedbank.errors import OutsideError, StoreError, UsageError
from seedbank.release.publish import publish
from seedbank.review.decisions import approved
from seedbank.selection.seeds import Seed
from seedbank.storage import LocalStore
from seedbank.tracking.log import EVERY, START, TRIAL, WHOLE, image_name, log_decision, log_release, log_trial
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
    (whole,) = [run for run in runs if run.data.tags[START] == EVERY]
    starts = [run for run in runs if run is not whole]
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
        assert (run.info.status, run.data.tags[WHOLE]) == ("FINISHED", "true")
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
    run = log_trial(made.bank, made.trial)
    logged = assert_complete(client, made)
    assert logged.whole.info.run_id == run
    assert {item.data.tags["mlflow.parentRunId"] for item in logged.starts} == {run}
    params, tags = logged.whole.data.params, logged.whole.data.tags
    assert (params["reference_set"], params["model.content"]) == (made.trial.reference_set, made.trial.model.content)
    assert (params["recipe.name"], params["sampler.num_inference_steps"]) == ("balanced", "20")
    assert params["software.torch"]
    assert tags["seedbank.trial_digest"] == made.trial.digest
    assert logged.whole.data.metrics["accepted"] == 1
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


def test_logging_again_adds_nothing(made: Made, client: Any) -> None:
    first = log_trial(made.bank, made.trial)
    before = assert_complete(client, made)
    assert log_trial(made.bank, made.trial) == first
    after = assert_complete(client, made)
    assert after.artifacts == before.artifacts


@pytest.mark.parametrize("reads", [4, 12])
def test_a_log_that_was_killed_half_way_is_finished_and_nothing_is_there_twice(
    made: Made, client: Any, reads: int
) -> None:
    with pytest.raises(StoreError, match="killed"):
        log_trial(dying(made.bank, reads), made.trial)
    log_trial(made.bank, made.trial)
    assert_complete(client, made)


def test_a_start_that_was_written_but_not_finished_is_written_over(made: Made, client: Any) -> None:
    log_trial(made.bank, made.trial)
    logged = read(client, made)
    for run in (logged.whole, logged.starts[0]):
        client.set_tag(run.info.run_id, WHOLE, "false")
    log_trial(made.bank, made.trial)
    assert assert_complete(client, made).artifacts == logged.artifacts


def test_two_trials_of_a_concept_are_two_runs(made: Made, client: Any) -> None:
    other = make_trial(made.bank, starts=STARTS, number=200_000)
    assert log_trial(made.bank, made.trial) != log_trial(made.bank, other.trial)
    assert_complete(client, made)


def test_our_pictures_are_named_as_mlflow_names_its_own(made: Made, client: Any) -> None:
    """The image grid finds pictures by their names; an MLflow that names them otherwise must be noticed here."""
    from PIL import Image

    run = log_trial(made.bank, made.trial)
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
    run = log_trial(made.bank, made.trial)
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


def dying(bank: Bank, reads: int) -> Bank:
    """``bank`` whose store fails for good after so many reads."""
    assert isinstance(bank.store, LocalStore)
    return replace(bank, store=_DyingStore(bank.store.root, [reads]))


@dataclass(frozen=True)
class _DyingStore(LocalStore):
    left: list[int]

    def get(self, key: str) -> bytes:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise StoreError("killed")
        return super().get(key)
