"""
# Reference intake

Takes photos from a folder or a bucket, sets bad ones aside with a reason each, and freezes a reference set for every concept that has
enough good ones. Each frozen set is announced as the concept's partition of `reference_sets`, which starts `seed_optimisation`.

* **By hand**: give `source`, and `concept` if all photos in it are of one. Every concept with photos there is judged.
* **By the clock**: where `SEEDBANK_INTAKE` names a folder or bucket it is scanned every hour. Only files that are new or changed are read,
  and only concepts with something new are judged. A scan that was killed is finished by the next one.

A bucket's credentials come from the environment, or from the Airflow connection that `SEEDBANK_S3_CONNECTION` names.

A concept whose photos are refused **fails its own task**, with a table of what was wrong, and stops no other concept: somebody has to add
or clear photos, and a skipped task would not tell them. It is not retried, for the same photos give the same answer.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import Param, dag, task

from seedbank.orchestration.assets import REFERENCE_SETS
from seedbank.orchestration.defaults import DEFAULT_ARGS

INTAKE = os.environ.get("SEEDBANK_INTAKE", "")


@dag(
    schedule="@hourly" if INTAKE else None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=["seedbank", "references"],
    params={
        "source": Param(
            INTAKE,
            type="string",
            title="Source",
            description_md="A folder with one sub-folder a concept, or `s3://bucket/prefix`.",
        ),
        "concept": Param(
            None,
            type=["null", "string"],
            title="Concept",
            description_md="Only if all photos in the source are of one.",
        ),
    },
)
def reference_intake():
    @task(execution_timeout=timedelta(hours=1))
    def intake() -> list[str]:
        """Decode, address by content, read rights; the concepts to judge."""
        from seedbank.orchestration import stages

        return stages.take_in()

    @task(outlets=[REFERENCE_SETS], map_index_template="{{ concept }}", execution_timeout=timedelta(minutes=30))
    def validate(concept: str) -> str:
        """Judge the photos with Great Expectations and freeze the chosen set; its digest."""
        from seedbank.orchestration import stages

        return stages.validate(concept)

    validate.expand(concept=intake())


reference_intake()
