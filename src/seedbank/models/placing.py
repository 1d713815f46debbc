"""A loaded pipeline on a device: on a card as its memory allows, elsewhere whole."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.memory import GIB, MemoryPlan, Weights, plan_memory
from seedbank.selection.sampling.metering import OnCard, measure
from seedbank.selection.sampling.placement import Placement, place, placement_of
from seedbank.selection.sampling.sampler import make_sampler

VIEWS = 5
"""Of an image that the encoder differentiates: the whole and the most cutouts of any preset."""
ASSUMED_VIEWS = int(1.5 * GIB)
"""Bytes of these where the encoder is not known yet: those of a ViT-L/14 in float32, rounded up."""

ASSUMED_JUDGES = int(1.5 * GIB)
"""Bytes of judges that are not there yet: a CLIP ViT-L/14 and a DINOv2 base in float32."""

log = logging.getLogger(__name__)


def place_model(
    pipeline: Any,
    device: torch.device,
    config: SamplerConfig,
    *,
    judge: Callable[[Tensor], Tensor] | None = None,
    judges: int = 0,
) -> Placement:
    """Put ``pipeline`` on ``device``. On a card its memory is planned from what one image is measured to take there.

    Args:
        pipeline: loaded, on the CPU.
        device: where to.
        config: how it will be sampled; its size decides most.
        judge: the encoder that is differentiated, already on the card.
        judges: bytes of judges that will come to the card later; 0 where they are there.

    Raises:
        OutOfMemory: the network alone does not fit.
    """
    if device.type != "cuda":
        return place(pipeline, device)
    placement_of(pipeline).clear()
    torch.cuda.empty_cache()
    free, _total = torch.cuda.mem_get_info(device)
    planner = partial(_planned, config=config, judge=judge, judges=judges, free=free, device=device)
    placement = place(pipeline, device, planner, free=free - judges)
    log.info("memory of %s: %s", device, placement.plan)
    return placement


def _planned(
    pipeline: Any,
    weights: Weights,
    *,
    config: SamplerConfig,
    judge: Callable[[Tensor], Tensor] | None,
    judges: int,
    free: int,
    device: torch.device,
) -> MemoryPlan:
    # any prompt: all are told to the network in one length
    costs = measure(make_sampler(pipeline, "", config), lambda: OnCard(device), judge=judge, views=VIEWS)
    if judge is None:
        costs = replace(costs, views=ASSUMED_VIEWS)
    return plan_memory(replace(weights, judges=judges), costs, free)


def decoding(pipeline: Any) -> dict[str, str]:
    """For the record of what images were drawn with: that they were decoded in tiles, where they were. Nothing else planned changes one."""
    plan = placement_of(pipeline).plan
    return {"decoding": "in tiles"} if plan and plan.vae_tiling else {}
