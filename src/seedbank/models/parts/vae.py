"""Stage 1, the image codec: an `AutoencoderKL` from 64x64 RGB to 16x16 latents of four channels.

Trained on the long-tailed world and on the zoo, so that it can write down parts that the diffusion model will never learn.
The loss is the absolute error of pixels, of their differences (which keeps edges crisp) and of 8x8 means (which keeps colours
true), and a weak pull to N(0, 1).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from seedbank.models.parts.data import Images, tail_set, zoo_set
from seedbank.models.parts.loop import Budget, Trained, accelerator, averaged, fit, half_precision, recorded

BUDGET = Budget(steps=4423, batch=96, rate=1e-3)
KL_WEIGHT, EDGE_WEIGHT, COLOUR_WEIGHT = 5e-4, 1.0, 1.0


def build() -> AutoencoderKL:
    """The untrained codec, 1.6 M parameters."""
    torch.manual_seed(BUDGET.seed)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=64,
        mid_block_add_attention=False,
    )


class Codec(nn.Module):
    """There and back, with the noise of the latents given: what a training step needs of the codec."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, batch: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The rebuilt pictures, and mean and logarithm of the variance of their latents."""
        with half_precision(batch.device, recorded=True):
            posterior = self.vae.encode(batch).latent_dist
            mean, logvar = posterior.mean.float(), posterior.logvar.float()
            rebuilt = self.vae.decode(mean + (0.5 * logvar).exp() * noise).sample
        return rebuilt.float(), mean, logvar


def train(work: Path) -> Trained:
    """Train the codec, or go on with it."""
    device = accelerator()
    images = np.concatenate([tail_set(work / "data")[0], zoo_set(work / "data")[0]])
    vae, pixels = build().to(device), torch.from_numpy(images).to(device)
    shape = (BUDGET.batch, 3, 64, 64)
    codec = recorded(
        Codec(vae), (torch.zeros(shape, device=device), torch.zeros(BUDGET.batch, 4, 16, 16, device=device))
    )

    def loss(generator: torch.Generator) -> Tensor:
        picked = torch.randint(len(pixels), (BUDGET.batch,), generator=generator, device=device)
        noise = torch.randn(BUDGET.batch, 4, 16, 16, generator=generator, device=device)
        batch = to_pixels(pixels[picked])
        return _loss(batch, *codec(batch, noise))

    return fit("vae", vae, loss, BUDGET, work)


def latest(work: Path) -> Trained:
    """The codec with the averaged weights of the latest checkpoint."""
    found = averaged("vae", build(), work)
    return replace(found, model=found.model.to(accelerator()))


def to_pixels(images: Images | Tensor) -> Tensor:
    """uint8 ``[n, 64, 64, 3]`` to float in [-1, 1], channels first."""
    return torch.as_tensor(images).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Images, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of `images`, unscaled, each ``[n, 4, 16, 16]``, on the CPU."""
    means, deviations = [], []
    for start in range(0, len(images), batch):
        with half_precision(vae.device):
            posterior = vae.encode(to_pixels(images[start : start + batch]).to(vae.device)).latent_dist
        means.append(posterior.mean.float().cpu())
        deviations.append(posterior.std.float().cpu())
    return torch.cat(means), torch.cat(deviations)


def _loss(batch: Tensor, rebuilt: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    divergence = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    colours = F.l1_loss(F.avg_pool2d(rebuilt, 8), F.avg_pool2d(batch, 8))
    error = F.l1_loss(rebuilt, batch) + EDGE_WEIGHT * _edges(rebuilt, batch) + COLOUR_WEIGHT * colours
    return error + KL_WEIGHT * divergence


def _edges(a: Tensor, b: Tensor) -> Tensor:
    return F.l1_loss(a.diff(dim=-1), b.diff(dim=-1)) + F.l1_loss(a.diff(dim=-2), b.diff(dim=-2))
