"""The denoising loop, written out so that gradients can flow through it: noise in, latents out.

A pipeline's own ``__call__`` runs without gradients, so it cannot be used. For the same noise this loop gives the same images. Networks
run in their own data type; noise and all scheduler arithmetic are float32. DDIM (Song et al., arXiv 2010.02502) without added
noise, equation 12 with sigma 0; the network may predict noise, velocity (Salimans & Ho, arXiv 2202.00512) or the clean sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.families import Family, adapt
from seedbank.trials import SamplerConfig

PREDICTIONS = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True)
class Step:
    """One step of the schedule: from signal share ``alpha`` at ``timestep`` to ``alpha_next``, both 0-dim float32 (ᾱ of the paper)."""

    timestep: int
    alpha: Tensor
    alpha_next: Tensor


@dataclass(frozen=True)
class Sampler:
    """A pipeline, a prompt and a schedule: a deterministic, differentiable function from noise to latents to images."""

    family: Family
    condition: Tensor
    steps: tuple[Step, ...]
    prediction: str
    config: SamplerConfig

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one seed."""
        factor = self.family.factor
        return self.family.channels, self.config.height // factor, self.config.width // factor

    def cost(self, batch: int, steps: int | None = None) -> int:
        """Network evaluations (one image, one conditioning) of ``steps`` steps, all of them by default."""
        return batch * len(self.condition) * (len(self.steps) if steps is None else steps)

    def predict(self, latents: Tensor, step: Step) -> Tensor:
        """The network's guided output at ``step``."""
        return self.family.predict(latents, step.timestep, self.condition, self.config.guidance_scale)

    def clean(self, latents: Tensor, output: Tensor, step: Step) -> Tensor:
        """The clean latents that ``output`` predicts at ``step``."""
        signal, noise = step.alpha**0.5, (1 - step.alpha) ** 0.5
        if self.prediction == "epsilon":
            return (latents - noise * output) / signal
        if self.prediction == "v_prediction":
            return signal * latents - noise * output
        return output

    def move(self, latents: Tensor, output: Tensor, step: Step) -> Tensor:
        """The latents after ``step``."""
        signal, noise = step.alpha**0.5, (1 - step.alpha) ** 0.5
        clean = self.clean(latents, output, step)
        if self.prediction == "epsilon":
            direction = output
        elif self.prediction == "v_prediction":
            direction = signal * output + noise * latents
        else:
            direction = (latents - signal * clean) / noise
        return step.alpha_next**0.5 * clean + (1 - step.alpha_next) ** 0.5 * direction

    def trail(self, latents: Tensor, first: int = 0, last: int | None = None) -> Iterator[Tensor]:
        """The latents after each of the steps ``first`` to ``last`` (exclusive)."""
        for step in self.steps[first:last]:
            latents = self.move(latents, self.predict(latents, step), step)
            yield latents

    @torch.no_grad()
    def run(self, latents: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """The latents after the steps ``first`` to ``last`` (exclusive), without gradients."""
        for after in self.trail(latents, first, last):
            latents = after
        return latents

    def finish(self, noise: Tensor) -> Tensor:
        """The final latents ``[1, C, h, w]`` of *one* seed ``[C, h, w]``.

        Always in a batch of one, because the last bits of a batched result depend on the batch: what is kept, judged and replayed
        is made so.
        """
        return self.run(noise[None].to(self.family.device))

    @torch.no_grad()
    def draw(self, noise: Tensor) -> npt.NDArray[np.uint8]:
        """The picture ``[H, W, 3]`` of one seed ``[C, h, w]``."""
        pixels: npt.NDArray[np.uint8] = to_pixels(self.family.decode(self.finish(noise)))[0]
        return pixels


def make_sampler(pipeline: Any, prompt: str, config: SamplerConfig | None = None) -> Sampler:
    """A sampler of ``pipeline`` for ``prompt``; without ``config``, 20 steps at guidance 7.5 and the model's own size.

    Raises:
        UsageError: the pipeline's family, scheduler or prediction type is not supported, or the size does not fit.
    """
    family = adapt(pipeline)
    config = config or default_config(pipeline)
    scheduler = pipeline.scheduler
    if type(scheduler).__name__ != "DDIMScheduler":
        raise UsageError(
            f"expected a DDIMScheduler, got {type(scheduler).__name__}; set pipeline.scheduler = "
            "DDIMScheduler.from_config(pipeline.scheduler.config)"
        )
    if (
        scheduler.config.prediction_type not in PREDICTIONS
        or scheduler.config.clip_sample
        or scheduler.config.thresholding
    ):
        raise UsageError(
            f"expected a scheduler that predicts one of {', '.join(PREDICTIONS)} without clipping, got "
            f"{scheduler.config.prediction_type!r}; clipped samples have no gradient"
        )
    if config.height % family.factor or config.width % family.factor:
        raise UsageError(f"expected a size in multiples of {family.factor}, got {config.height}x{config.width}")
    condition = family.condition(prompt, config.guidance_scale)
    steps = ddim_steps(scheduler, config.num_inference_steps)
    return Sampler(family, condition, steps, scheduler.config.prediction_type, config)


def default_config(pipeline: Any) -> SamplerConfig:
    """20 steps at guidance 7.5, as in the paper, at the size the U-Net was made for."""
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    return SamplerConfig(
        scheduler=type(pipeline.scheduler).__name__,
        num_inference_steps=20,
        guidance_scale=7.5,
        height=side,
        width=side,
        dtype=str(pipeline.unet.dtype).removeprefix("torch."),
    )


def ddim_steps(scheduler: Any, count: int) -> tuple[Step, ...]:
    """The steps that ``scheduler`` takes for ``count`` inference steps; the scheduler itself stays as it was."""
    own = type(scheduler).from_config(scheduler.config)
    own.set_timesteps(count)
    stride, alphas = own.config.num_train_timesteps // count, own.alphas_cumprod
    times = [int(time) for time in own.timesteps]
    return tuple(
        Step(time, alphas[time], alphas[time - stride] if time >= stride else own.final_alpha_cumprod) for time in times
    )


def to_pixels(images01: Tensor) -> npt.NDArray[np.uint8]:
    """``[B, 3, H, W]`` in about 0..1 to ``[B, H, W, 3]`` bytes, clamped and rounded as diffusers does."""
    scaled = images01.detach().clamp(0, 1).permute(0, 2, 3, 1).cpu().float().numpy()
    return np.asarray((scaled * 255).round(), np.uint8)


def from_pixels(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """``[B, H, W, 3]`` bytes to ``[B, 3, H, W]`` in 0..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
