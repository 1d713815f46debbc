"""A local executor whose tasks find the heavy libraries imported.

Airflow gives every task a process of its own, forked from a worker, which is forked from the scheduler. So what the scheduler has imported
before it forks its workers is there in every task, in memory that all of them share, and no task pays for it. Without this, judging
photos, searching, logging and freezing each import torch, diffusers, Great Expectations or MLflow anew.

Choose it with ``AIRFLOW__CORE__EXECUTOR=seedbank.orchestration.executor.WarmLocalExecutor``; ``make demo`` does. Other executors work as
well, and their tasks import what they use.
"""

from __future__ import annotations

import logging
import pkgutil
import time

from airflow.executors.local_executor import LocalExecutor

from seedbank.settings import share_cores

log = logging.getLogger(__name__)

USED = (
    "torch",
    "diffusers:StableDiffusionPipeline",
    "diffusers:UNet2DConditionModel",
    "diffusers:AutoencoderKL",
    "diffusers:DDIMScheduler",
    "transformers:CLIPTextModel",
    "transformers:CLIPTokenizer",
    "transformers:CLIPVisionModelWithProjection",
    "transformers:ResNetModel",
    "skimage.color:rgb2lab",
    "skimage.filters:threshold_otsu",
    "great_expectations",
    "mlflow",
    "seedbank.models.loading",
    "seedbank.references.intake.run",
    "seedbank.references.validation",
    "seedbank.review.dossier",
    "seedbank.selection.search.select",
    "seedbank.tracking.log",
    "seedbank.trials.run",
)
"""What tasks use and takes long to import: modules, and names that their libraries import when they are first asked for. Only imports:
nothing here may start a thread, which a fork would lose."""


def warm() -> None:
    """Import :data:`USED`. What is not installed is left to the task that needs it, which then says so."""
    share_cores()
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # it describes itself at length
    started = time.monotonic()
    for name in USED:
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError) as error:
            log.warning("%s was not imported ahead: %s", name, error)
    log.info("imported ahead in %.1f s", time.monotonic() - started)


class WarmLocalExecutor(LocalExecutor):  # type: ignore[misc]  # Airflow is not typed for us
    """Airflow's LocalExecutor, whose workers are forked from a process that has imported what tasks use."""

    def start(self) -> None:
        """Import, then fork the workers."""
        warm()
        super().start()
