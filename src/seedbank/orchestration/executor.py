"""A local executor whose tasks find the heavy libraries imported.

Airflow gives every task a process of its own, forked from a worker, which is forked from the scheduler. So what the scheduler has imported
before it forks its workers is there in every task, in memory that all of them share, and no task pays for it. Without this, judging
photos, searching, logging and freezing each import torch, diffusers, Great Expectations or MLflow anew.

Choose it with ``AIRFLOW__CORE__EXECUTOR=seedbank.orchestration.executor.WarmLocalExecutor``; ``make demo`` does. Other executors work as
well, and their tasks import what they use.
"""

from __future__ import annotations

import importlib
import logging
import time

from airflow.executors.local_executor import LocalExecutor

from seedbank.settings import share_cores

log = logging.getLogger(__name__)

MODULES = (
    "seedbank.models.pipelines",
    "seedbank.models.judges",
    "seedbank.selection.search.select",
    "seedbank.trials.run",
    "seedbank.references.validation",
    "seedbank.references.intake.run",
    "seedbank.tracking.log",
    "seedbank.review.dossier",
    "torch",
    "diffusers",
    "transformers",
    "great_expectations",
    "mlflow",
)
"""What tasks use that takes longest to import. Only imports: nothing here may start a thread, which a fork would lose."""


def warm() -> None:
    """Import :data:`MODULES`. One that is not installed is left to the task that needs it, which then says so."""
    share_cores()
    started = time.monotonic()
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            log.warning("not imported ahead: %s", error)
    log.info("imported ahead in %.1f s", time.monotonic() - started)


class WarmLocalExecutor(LocalExecutor):  # type: ignore[misc]  # Airflow is not typed for us
    """Airflow's LocalExecutor, whose workers are forked from a process that has imported what tasks use."""

    def start(self) -> None:
        """Import, then fork the workers."""
        warm()
        super().start()
