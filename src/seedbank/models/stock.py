"""What the stock diffusers pipeline draws of a seed: the witness that a sampler is asked beside.

Nothing of ours takes part but the layout of the noise; prompts, schedule, guidance and decoding are the pipeline's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.families import adapt
from seedbank.selection.sampling.placement import placement_of

if TYPE_CHECKING:
    from seedbank.selection.sampling.sampler import Sampler

Pixels = npt.NDArray[np.uint8]


def stock_image(pipeline: Any, sampler: Sampler, prompt: str, noise: Tensor) -> Pixels:
    """The image ``[H, W, 3]`` that ``pipeline`` draws of ``noise`` ``[1, C, h, w]`` when anybody calls it, sampled as ``sampler`` does."""
    config, placement = sampler.config, placement_of(pipeline)
    # The pipeline reads its prompt by itself, so its text encoders have to be there.
    with _scheduler(pipeline, sampler.scheduler), placement.encoding(), torch.no_grad():
        image = pipeline(prompt, latents=adapt(pipeline).pipeline_latents(noise), **call_options(config)).images[0]
    return np.asarray(image.convert("RGB"))


def can_draw_whole(pipeline: Any) -> bool:
    """Whether all parts of ``pipeline`` fit where it computes at once, which a call of it needs."""
    placement = placement_of(pipeline)
    whole = placement.encode_at is None or placement.encode_at == placement.device
    return whole and (placement.plan is None or placement.plan.offload == "none")


def call_options(config: SamplerConfig) -> dict[str, Any]:
    """What the call of a pipeline is told, beside prompt and noise, to draw as ``config`` says."""
    return {
        "num_inference_steps": config.num_inference_steps,
        "guidance_scale": config.guidance_scale,
        "height": config.height,
        "width": config.width,
        # For schedulers that add noise on the way; the others never ask it.
        "generator": torch.Generator("cpu").manual_seed(int(config.noise_key)),
        **({"negative_prompt": config.negative_prompt} if config.negative_prompt else {}),
    }


@contextmanager
def _scheduler(pipeline: Any, scheduler: Any) -> Iterator[None]:
    """``pipeline`` with a copy of ``scheduler``, whose state a call changes; its own again afterwards."""
    own = pipeline.scheduler
    pipeline.scheduler = type(scheduler).from_config(scheduler.config)
    try:
        yield
    finally:
        pipeline.scheduler = own
