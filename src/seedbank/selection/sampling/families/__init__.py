"""What the sampler needs from a pipeline: one small protocol, one adapter for each family of models.

A family turns a prompt into a condition, predicts with guidance, and goes between latents and images. It knows nothing of noise
schedules; :mod:`seedbank.selection.sampling.schedules` does. A new family is a new class and a line in :data:`ADAPTERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.sampling.families.base import Codec, Condition, Family, Sampling
from seedbank.selection.sampling.families.transformer import Flux, StableDiffusion3
from seedbank.selection.sampling.families.unet import StableDiffusion, StableDiffusionXL
from seedbank.selection.seeds import Seed

__all__ = [
    "ADAPTERS",
    "Codec",
    "Condition",
    "Family",
    "Flux",
    "Sampling",
    "StableDiffusion",
    "StableDiffusion3",
    "StableDiffusionXL",
    "adapt",
    "pipeline_latents",
]

ADAPTERS: Mapping[str, Callable[[Any], Family]] = {
    "StableDiffusionPipeline": StableDiffusion,
    "LatentConsistencyModelPipeline": StableDiffusion,
    "StableDiffusionXLPipeline": StableDiffusionXL,
    "StableDiffusion3Pipeline": StableDiffusion3,
    "FluxPipeline": Flux,
}
"""The pipeline classes whose sampling loop is reproduced, by name, so that none is imported before it is needed."""


def adapt(pipeline: Any) -> Family:
    """The adapter for ``pipeline``.

    Raises:
        UsageError: its family is not supported.
    """
    name = type(pipeline).__name__
    if name not in ADAPTERS:
        raise UsageError(
            f"expected one of {', '.join(ADAPTERS)}, got a {name}; other families need an adapter in seedbank.selection.sampling.families"
        )
    return ADAPTERS[name](pipeline)


def pipeline_latents(pipeline: Any, seed: Seed) -> Tensor:
    """What ``pipeline`` takes as ``latents=`` to draw ``seed``: a batch of one, in its own layout (packed for Flux) and data type.

    Raises:
        UsageError: its family is not supported.
    """
    return adapt(pipeline).pipeline_latents(torch.from_numpy(seed.latents.copy())[None])
