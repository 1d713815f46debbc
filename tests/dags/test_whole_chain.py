"""The whole way with real parts, from photos to a signed release, all in ``dag.test()``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from seedbank.bank import Bank
from seedbank.references.records import ReferenceSet
from seedbank.release import verify_release
from seedbank.release.records import newest_release_folder
from seedbank.trials.records import Trial
from support.home import CONCEPT, make_home
from support.pipelines import stable_diffusion

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"
KIND = "wrench"
"""A kind that the shipped model draws now and then, so that a short search finds it."""
TOO_FEW = "hook"


@pytest.fixture
def photos(bank: Bank, tmp_path: Path) -> Path:
    """An intake folder with the photos of one concept, good and bad, and too few of another."""
    folder = tmp_path / "intake"
    shutil.copytree(PHOTOS / KIND, folder / KIND)
    shutil.copy(PHOTOS / "clover" / "no-rights-01.jpg", folder / KIND)
    folder.joinpath(TOO_FEW).mkdir()
    for path in sorted((PHOTOS / TOO_FEW).glob("photo-0[12].*")):
        shutil.copy(path, folder / TOO_FEW)
    for name in (KIND, TOO_FEW):
        concept = {"name": name, "prompt": f"a photo of a {name}", "owner": "mia"}
        policy = {"selection": {"candidates": 2, "plain": 2}}
        bank.settings.concepts.joinpath(f"{name}.yaml").write_text(yaml.safe_dump(concept | {"policy": policy}))
    return folder


@pytest.fixture
def run(airflow: Any, dag_bag: Any) -> Callable[..., tuple[dict[str, list[str]], dict[str, Any]]]:
    """Run a DAG in ``dag.test()``; the states of its tasks' instances, and the event it announced."""

    def run(dag_id: str, **conf: Any) -> tuple[dict[str, list[str]], dict[str, Any]]:
        made = dag_bag.dags[dag_id].test(run_conf=conf)
        path = f"/api/v2/dags/{dag_id}/dagRuns/{made.run_id}/taskInstances"
        states: dict[str, list[str]] = {}
        for task in airflow.call("admin", "GET", path).json()["task_instances"]:
            states.setdefault(task["task_id"], []).append(task["state"])
        query = {"source_dag_id": dag_id, "source_run_id": made.run_id}
        events = airflow.call("admin", "GET", "/api/v2/assets/events", params=query).json()["asset_events"]
        return states, events[0] if len(events) == 1 else {}

    return run


def test_photos_become_a_signed_release(bank: Bank, photos: Path, run: Any, review: Any) -> None:
    states, announced = run("reference_intake", source=str(photos))
    assert states["intake"] == ["success"]
    assert sorted(states["validate"]) == ["failed", "success"]  # too few photos of one kind do not stop the other
    assert announced["partition_key"] == KIND
    chosen = bank.newest(ReferenceSet, KIND)
    report = f"/seedbank/reference-sets/{chosen.digest}/report.html"
    assert announced["extra"] == {"digest": chosen.digest, "report": report}
    refused = [entry.concept for entry in bank.ledger.entries(event="references.refused")]
    assert refused == [TOO_FEW]
    assert [entry.concept for entry in bank.ledger.entries(event="intake.quarantined")] == [KIND]

    _search_and_release(bank, KIND, announced, run, review)
    assert bank.ledger.verify() > 0
    assert {entry.actor for entry in bank.ledger.entries()} == {
        "airflow:reference_intake",
        "airflow:seed_optimisation",
        "airflow:release_review",
    }


def test_photos_become_a_signed_release_on_a_model_of_ones_own(
    bank: Bank, tmp_path: Path, run: Any, review: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path / "own", stable_diffusion())
    for name, value in home.environment.items():
        # In whose name a task writes its DAG says.
        if name != "SEEDBANK_ACTOR":
            monkeypatch.setenv(name, value)
    states, announced = run("reference_intake", source=str(home.root / "photos"))
    assert states == {"intake": ["success"], "validate": ["success"]}
    trial = _search_and_release(home.bank, CONCEPT, announced, run, review)
    assert (trial.profile, trial.guard.name, trial.encoder.name) == ("tiny", "dinov2", "siglip and clip")


def _search_and_release(bank: Bank, kind: str, announced: dict[str, Any], run: Any, review: Any) -> Trial:
    """From the reference set that was announced to a release that holds; its trial."""
    chosen = announced["extra"]["digest"]
    states, announced = run("seed_optimisation", concept=kind, **announced["extra"])
    assert states == {"optimise": ["success"], "log_to_mlflow": ["success"], "freeze_dossier": ["success"]}
    trial = bank.newest(Trial, kind)
    assert trial.reference_set == chosen
    assert bank.requesters(kind) == {"dag_test", "mia"}
    assert (announced["partition_key"], announced["extra"]["trial"]) == (kind, trial.key)

    def people(room: Any) -> None:
        assert announced["extra"]["dossier"] in room.asks(1)["body"]
        room.answer("alice", 1)
        room.asks(2)
        room.answer("bob", 2)

    assert set(review(people, concept=kind, **announced["extra"]).values()) == {"success"}
    release = verify_release(
        Path(bank.settings.store) / newest_release_folder(bank, kind), bank.settings.keys / "release.pub"
    )
    assert release.manifest.trial == trial.key
    return trial
