"""
# Release review

Two people look at one dossier (the partition is its concept) and say yes or no, each with a reason. Both yes: the release is signed and
announced as the concept's partition of `releases`. One no: the rest is skipped and says who said no and why.

**It fails closed.** Each seat's answer becomes a signed decision bound to the dossier's digest, and `publish` reads those decisions and
nothing else. Marking a task successful, writing an XCom, clearing, or answering as somebody else publishes nothing. Nobody who asked for
the images may review them, and nobody may sit on both seats. There is no default answer and no time-out.

A seat that has answered does not ask again: for a second opinion make a new dossier (more photos, another recipe).

By hand: trigger with the concept's name as partition key; the latest dossier is reviewed unless the configuration gives a `dossier` digest.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import PartitionedAssetTimetable, dag, task

from seedbank.orchestration.assets import DOSSIERS, RELEASES
from seedbank.orchestration.defaults import DEFAULT_ARGS
from seedbank.orchestration.gate import ReviewGate


@dag(
    schedule=PartitionedAssetTimetable(assets=DOSSIERS),
    catchup=False,
    max_active_runs=100,  # a waiting review holds no worker, only its run
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["seedbank", "review"],
)
def release_review():
    @task(execution_timeout=timedelta(minutes=5))
    def open_review() -> str:
        """Is there a dossier, and are there two people who may review it? Its digest."""
        from seedbank.orchestration import stages

        return stages.open_review()

    # Runs after a rejection too (which skips seat_2), to say why nothing is published.
    @task(outlets=[RELEASES], trigger_rule="none_failed", execution_timeout=timedelta(minutes=30))
    def publish() -> str:
        """Sign the release, if both decisions on record say yes; its folder."""
        from seedbank.orchestration import stages

        return stages.publish()

    @task(trigger_rule="none_failed", execution_timeout=timedelta(minutes=5))
    def tag_mlflow() -> None:
        """Show in MLflow what was decided and released; changes nothing of either."""
        from seedbank.orchestration import stages

        stages.tag_mlflow()

    seat_1 = ReviewGate(task_id="seat_1", seat=1)
    seat_2 = ReviewGate(task_id="seat_2", seat=2)
    open_review() >> seat_1 >> seat_2 >> publish() >> tag_mlflow()


release_review()
