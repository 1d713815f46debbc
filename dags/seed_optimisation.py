"""
# Seed optimisation

Finds seeds for one concept (the partition): explores plain seeds, optimises the best, and keeps what the guard accepts. Then it logs the
trial to MLflow and freezes the dossier that reviewers will see, announced as the concept's partition of `dossiers`.

A search that was killed continues from its checkpoint; one that is done is found, not repeated. If no seed of this model can draw the
concept the run **fails at once**, saying so and what to try instead.

By hand: trigger with the concept's name as partition key; the latest reference set is used unless the configuration gives a `digest`.
`SEEDBANK_POOL` names the Airflow pool of the search (one slot a GPU, say); it must exist.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import PartitionedAssetTimetable, dag, task

from seedbank.orchestration.assets import DOSSIERS, REFERENCE_SETS
from seedbank.orchestration.defaults import DEFAULT_ARGS


@dag(
    schedule=PartitionedAssetTimetable(assets=REFERENCE_SETS),
    catchup=False,
    max_active_runs=16,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["seedbank", "seeds"],
)
def seed_optimisation():
    @task(pool=os.environ.get("SEEDBANK_POOL", "default_pool"), execution_timeout=timedelta(hours=6))
    def optimise() -> str:
        """Explore, optimise, score; the trial's key."""
        from seedbank.orchestration import stages

        return stages.optimise()

    @task(execution_timeout=timedelta(minutes=30))
    def log_to_mlflow(trial: str) -> str:
        """Curves, images, parameters; the run's id."""
        from seedbank.orchestration import stages

        return stages.log_to_mlflow(trial)

    @task(outlets=[DOSSIERS], execution_timeout=timedelta(minutes=15))
    def freeze_dossier(trial: str, mlflow_run: str) -> str:
        """What reviewers will see; its digest."""
        from seedbank.orchestration import stages

        return stages.freeze(trial, mlflow_run)

    trial = optimise()
    freeze_dossier(trial, log_to_mlflow(trial))


seed_optimisation()
