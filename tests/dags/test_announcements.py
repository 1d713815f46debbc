"""An announced partition starts a run for its concept, and that run takes its order from the announcement.

The scheduler's own step that turns announcements into runs is called here directly, instead of waiting for a scheduler to take it.
"""

from __future__ import annotations

from typing import Any

import pytest

from seedbank.bank import Bank
from seedbank.orchestration.assets import DOSSIERS, PRODUCERS
from seedbank.review.records import Dossier
from support.trials import make_trial

pytestmark = pytest.mark.integration


@pytest.fixture
def known_dags(airflow: Any) -> None:
    """The DAG files are in the database, and not paused."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    (bundle,) = manager.get_all_dag_bundles()
    bundle.initialize()
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, bundle.version)
    assert airflow.call("admin", "PATCH", "/api/v2/dags/release_review", json={"is_paused": False}).is_success


def announce(**extra: Any) -> None:
    """Announce a dossier of ``wingnut``, as Airflow does when our task succeeds."""
    from airflow.assets.manager import asset_manager
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    dag_id, task_id = PRODUCERS[DOSSIERS.name]
    with create_session() as session:
        asset = session.scalars(select(AssetModel).where(AssetModel.name == DOSSIERS.name)).one()
        made = asset_manager.register_asset_change(asset=asset, extra=extra, partition_key="wingnut", session=session)
        session.flush()
        event = session.get(AssetEvent, made.id)
        event.source_dag_id, event.source_task_id, event.source_run_id = dag_id, task_id, "manual__1"


def post(airflow: Any, who: str, **extra: Any) -> None:
    """Post an announcement by hand."""
    assets = airflow.call("admin", "GET", "/api/v2/assets", params={"name_pattern": DOSSIERS.name}).json()["assets"]
    event = {"asset_id": assets[0]["id"], "partition_key": "wingnut", "extra": extra}
    assert airflow.call(who, "POST", "/api/v2/assets/events", json=event).is_success


def start_runs() -> set[str]:
    """The scheduler's step."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.utils.session import create_session

    with create_session() as session:
        return SchedulerJobRunner(Job())._create_dagruns_for_partitioned_asset_dags(session)


def run_task(dag: Any, run_id: str, task_id: str) -> None:
    """Run one task, until it ends or asks."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(TaskInstance).where(TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
        instance = session.scalars(query).one()
        instance.state, instance.try_number = "scheduled", 1
    _run_task(ti=instance, task=dag.get_task(task_id), run_triggerer=False)


def new_run(airflow: Any) -> dict[str, Any]:
    """The run that the announcement starts."""
    assert start_runs() == {"release_review"}
    runs = airflow.call("admin", "GET", "/api/v2/dags/release_review/dagRuns", params={"order_by": "-run_after"})
    return dict(runs.json()["dag_runs"][0])


def test_a_run_reviews_the_dossier_that_was_announced(
    airflow: Any, bank: Bank, dossier: Dossier, dag_bag: Any, known_dags: None
) -> None:
    make_trial(bank, number=1).dossier()  # newer, but nobody announced it
    bank.request("trial", concept="wingnut", subject=dossier.reference_set, requested_by=["bob"])
    announce(dossier=dossier.digest, mlflow_run=f"experiments/1/runs/{'ab' * 16}")
    run = new_run(airflow)
    assert (run["partition_key"], run["run_type"]) == ("wingnut", "asset_triggered")

    run_task(dag_bag.dags["release_review"], run["dag_run_id"], "seat_1")
    path = f"/api/v2/dags/release_review/dagRuns/{run['dag_run_id']}/taskInstances/seat_1"
    question = airflow.call("admin", "GET", f"{path}/-1/hitlDetails").json()
    assert question["options"][0] == f"Publish {dossier.digest[:12]}"
    assert [user["id"] for user in question["assigned_users"]] == ["alice", "robo"]  # Mia and Bob asked for it
    airflow.call("admin", "PATCH", path, json={"new_state": "failed"})


def test_an_announcement_that_was_posted_by_hand_is_refused(
    airflow: Any, bank: Bank, dossier: Dossier, dag_bag: Any, known_dags: None
) -> None:
    post(airflow, "mia", dossier=dossier.digest, requested_by=["bob"])  # Airflow does not remember that it was Mia
    run = new_run(airflow)
    assert run["triggering_user_name"] is None
    path = f"/api/v2/dags/release_review/dagRuns/{run['dag_run_id']}/taskInstances"
    for task_id in ("open_review", "seat_1", "publish"):
        run_task(dag_bag.dags["release_review"], run["dag_run_id"], task_id)
        assert airflow.call("admin", "GET", f"{path}/{task_id}").json()["state"] == "failed", task_id
    assert airflow.call("admin", "GET", f"{path}/seat_1/-1/hitlDetails").status_code == 404  # nobody was asked
    assert "bob" not in bank.requesters("wingnut")
