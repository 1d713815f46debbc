"""Stage 1, the image codec: an `AutoencoderKL` from 64x64 RGB to 16x16 latents of four channels.

Trained on the long-tailed world and on the zoo, so that it can write down parts that the diffusion model will never learn.
The loss is the absolute error of pixels, of their differences (which keeps edges crisp) and of 8x8 means (which keeps colours
true), and a weak pull to N(0, 1).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from seedbank.models.parts.data import Images, tail_set, zoo_set
from seedbank.models.parts.loop import Budget, Trained, averaged, fit

BUDGET = Budget(steps=2050, batch=24, rate=1e-3)
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


def train(work: Path) -> Trained:
    """Train the codec, or go on with it."""
    images = np.concatenate([tail_set(work / "data")[0], zoo_set(work / "data", 420, 24)[0]])
    vae = build()
    return fit(
        "vae", vae, lambda generator: _loss(vae, pixels(images, BUDGET.batch, generator), generator), BUDGET, work
    )


def latest(work: Path) -> Trained:
    """The codec with the averaged weights of the latest checkpoint."""
    return averaged("vae", build(), work)


def pixels(images: Images, count: int, generator: torch.Generator) -> Tensor:
    """`count` random images as a float tensor in [-1, 1], ``[count, 3, 64, 64]``."""
    return to_pixels(images[torch.randint(len(images), (count,), generator=generator).numpy()])


def to_pixels(images: Images) -> Tensor:
    """uint8 ``[n, 64, 64, 3]`` to float in [-1, 1], channels first."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 127.5 - 1


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Images, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of `images`, unscaled, each ``[n, 4, 16, 16]``."""
    means, deviations = [], []
    for start in range(0, len(images), batch):
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(to_pixels(images[start : start + batch])).latent_dist
        means.append(posterior.mean.float())
        deviations.append(posterior.std.float())
    return torch.cat(means), torch.cat(deviations)


def _loss(vae: AutoencoderKL, batch: Tensor, generator: torch.Generator) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(batch).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        rebuilt = vae.decode(posterior.mean.float() + posterior.std.float() * noise).sample
    rebuilt = rebuilt.float()
    divergence = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
    colours = F.l1_loss(F.avg_pool2d(rebuilt, 8), F.avg_pool2d(batch, 8))
    error = F.l1_loss(rebuilt, batch) + EDGE_WEIGHT * _edges(rebuilt, batch) + COLOUR_WEIGHT * colours
    loss: Tensor = error + KL_WEIGHT * divergence
    return loss


def _edges(a: Tensor, b: Tensor) -> Tensor:
    return F.l1_loss(a.diff(dim=-1), b.diff(dim=-1)) + F.l1_loss(a.diff(dim=-2), b.diff(dim=-2))
