"""What the sampler needs from a pipeline: one small protocol, one adapter for each family of models.

A family turns a prompt into a condition, predicts with guidance, and goes between latents and images. It knows nothing of noise
schedules; :mod:`seedbank.selection.sampler` does. A new family (SDXL, flow models) is a new class here and a line in :func:`adapt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from seedbank.errors import UsageError


class Family(Protocol):
    """A family of pipelines. Latents are float32 and scaled to about unit variance; images are 0..1, not clamped."""

    @property
    def channels(self) -> int:
        """Channels of a latent."""

    @property
    def factor(self) -> int:
        """Pixels per latent position along one side."""

    @property
    def device(self) -> torch.device:
        """Where the networks are."""

    def condition(self, prompt: str, guidance_scale: float) -> Tensor:
        """What the network is told: ``[2, …]`` (empty prompt first) when guided, else ``[1, …]``."""

    def predict(self, latents: Tensor, timestep: int, condition: Tensor, guidance_scale: float) -> Tensor:
        """The network's output for ``[B, C, h, w]`` at ``timestep``, guided, float32. Differentiable."""

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` of latents. Differentiable."""

    def encode(self, images01: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents of images: the posterior's mean, or a sample of it drawn from ``generator``."""


@dataclass(frozen=True)
class StableDiffusion:
    """Stable Diffusion 1.x and 2.x: one CLIP text encoder, classifier-free guidance in one batch of two."""

    pipeline: Any

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return int(self.pipeline.unet.config.in_channels)

    @property
    def factor(self) -> int:
        """Pixels per latent position along one side."""
        return int(self.pipeline.vae_scale_factor)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return torch.device(self.pipeline.unet.device)

    @torch.no_grad()
    def condition(self, prompt: str, guidance_scale: float) -> Tensor:
        """Text embeddings ``[2, T, D]`` (empty prompt first) for guidance above 1, else ``[1, T, D]``."""
        guided = guidance_scale > 1
        text, empty = self.pipeline.encode_prompt(prompt, self.device, 1, guided)
        return torch.cat([empty, text]) if guided else text

    def predict(self, latents: Tensor, timestep: int, condition: Tensor, guidance_scale: float) -> Tensor:
        """The U-Net's output with classifier-free guidance (Ho & Salimans, arXiv 2207.12598): ``e0 + s·(e1 - e0)``."""
        unet, branches = self.pipeline.unet, len(condition)
        batch = latents.to(unet.dtype).repeat(branches, 1, 1, 1)
        output = unet(batch, timestep, condition.repeat_interleave(len(latents), 0), return_dict=False)[0].float()
        if branches == 1:
            return torch.as_tensor(output)
        without, with_text = output.chunk(2)
        return torch.as_tensor(without + guidance_scale * (with_text - without))

    def decode(self, latents: Tensor) -> Tensor:
        """Images in about 0..1; values outside are kept so that their gradient is not lost."""
        vae = self.pipeline.vae
        decoded = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype), return_dict=False)[0]
        return torch.as_tensor(decoded.float() / 2 + 0.5)

    def encode(self, images01: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents of images in 0..1."""
        vae = self.pipeline.vae
        posterior = vae.encode((2 * images01 - 1).to(vae.dtype)).latent_dist
        latents = posterior.mode() if generator is None else posterior.sample(generator)
        return torch.as_tensor(latents.float() * vae.config.scaling_factor)


def adapt(pipeline: Any) -> Family:
    """The adapter for ``pipeline``.

    Raises:
        UsageError: its family is not supported.
    """
    name = type(pipeline).__name__
    if name == "StableDiffusionPipeline":
        return StableDiffusion(pipeline)
    raise UsageError(
        f"expected a StableDiffusionPipeline, got a {name}; other families need an adapter in selection.families"
    )
