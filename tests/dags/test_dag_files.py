"""The DAG files as Airflow's processor sees them: they parse, quickly and lightly, and say what they are."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).resolve().parents[2] / "dags"
TASKS = {
    "reference_intake": ["intake", "validate"],
    "seed_optimisation": ["optimise", "log_to_mlflow", "freeze_dossier"],
    "release_review": ["open_review", "seat_1", "seat_2", "publish", "tag_mlflow"],
}
HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "mlflow",
    "great_expectations",
    "pandas",
    "numpy",
    "scipy",
    "skimage",
    "PIL",
)


@pytest.fixture(params=TASKS)
def dag(request: Any, dag_bag: Any) -> Any:
    return dag_bag.dags[request.param]


def test_every_file_is_one_dag_named_after_it(dag_bag: Any) -> None:
    assert dag_bag.import_errors == {}
    assert {Path(dag.fileloc).stem: name for name, dag in dag_bag.dags.items()} == {name: name for name in TASKS}
    assert sorted(path.stem for path in DAGS.glob("*.py")) == sorted(TASKS)


def test_every_dag_says_what_it_does_and_where_it_belongs(dag: Any) -> None:
    assert dag.doc_md.strip().startswith("# ")
    assert "seedbank" in dag.tags
    assert not dag.catchup


def test_every_task_has_an_owner_is_tried_again_and_ends(dag: Any) -> None:
    assert [task.task_id for task in dag.topological_sort()] == TASKS[dag.dag_id]
    for task in dag.tasks:
        assert task.owner == "seedbank", task.task_id
        assert task.retries == 2, task.task_id
        waits_for_people = task.task_id.startswith("seat_")
        assert waits_for_people or task.execution_timeout > timedelta(0), task.task_id


def test_every_form_field_has_a_title(dag: Any) -> None:
    for task in dag.tasks:
        for name in task.params:
            assert task.params.get_param(name).schema["title"], (task.task_id, name)


def test_the_dags_are_joined_by_assets(dag_bag: Any) -> None:
    def listens_to(name: str) -> list[str]:
        return [dag_bag.dags[name].timetable.asset_condition.name]

    def announces(name: str) -> list[str]:
        return [asset.name for task in dag_bag.dags[name].tasks for asset in task.outlets]

    assert announces("reference_intake") == listens_to("seed_optimisation") == ["reference_sets"]
    assert announces("seed_optimisation") == listens_to("release_review") == ["dossiers"]
    assert announces("release_review") == ["releases"]


def test_a_review_never_answers_itself(dag_bag: Any) -> None:
    for seat in ("seat_1", "seat_2"):
        task = dag_bag.dags["release_review"].get_task(seat)
        assert (task.defaults, task.response_timeout, task.multiple) == (None, None, False)


def test_parsing_imports_nothing_heavy_and_takes_less_than_a_second() -> None:
    code = f"""
import importlib.util, json, sys, time
import airflow.sdk
from airflow.sdk import dag, task
start = time.process_time()
for name in {sorted(TASKS)!r}:
    spec = importlib.util.spec_from_file_location(name, f"{DAGS}/{{name}}.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(json.dumps([time.process_time() - start, [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, heavy = json.loads(out.splitlines()[-1])
    assert heavy == []
    assert seconds < 1


@pytest.mark.parametrize(("intake", "schedule"), [("", None), ("/photos", "0 * * * *")])
def test_the_clock_scans_only_where_an_intake_is_configured(
    intake: str, schedule: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("SEEDBANK_INTAKE", intake)
    dag = DagBag(dag_folder=str(DAGS / "reference_intake.py")).dags["reference_intake"]
    assert getattr(dag.timetable, "expression", None) == schedule
    assert dag.params["source"] == intake


def test_the_search_alone_waits_in_the_airflow_pool_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("SEEDBANK_POOL", "card")
    dag = DagBag(dag_folder=str(DAGS / "seed_optimisation.py")).dags["seed_optimisation"]
    pools = {task.task_id: task.pool for task in dag.tasks}
    assert pools == {"optimise": "card", "log_to_mlflow": "default_pool", "freeze_dossier": "default_pool"}
