"""Augmentations for the judges: images made worse in the ways in which generated images are worse.

The judges must hold on what a diffusion model makes, not only on clean renders: so they also see pictures through the codec,
through the codec with noise on the latents, blurred, noisy, cropped and in other light.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from seedbank.models.parts import vae as codec
from seedbank.models.parts.data import Images, Labels
from seedbank.models.parts.loop import half_precision


def spoil(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Crop, blur, grain and relight each picture by a random amount; ``[n, 3, 64, 64]`` in [-1, 1], and so is the result."""
    count = len(images)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator, device=images.device)

    images = _cropped(images, draw(1 - 0.12 * strength, 1.08), draw(-0.1, 0.1), draw(-0.1, 0.1))
    softness = draw(-0.5, 0.7 * strength).clamp(min=0)
    images = images + softness * (_blurred(images) - images)
    grain = torch.randn(images.shape, generator=generator, device=images.device)
    images = images + draw(-0.06, 0.12 * strength).clamp(min=0) * grain
    return (images * draw(0.85, 1.15) + draw(-0.1, 0.1)).clamp(-1, 1)


@torch.no_grad()
def through_codec(
    vae: AutoencoderKL, images: Images, most_noise: float, seed: int, kept: Path, batch: int = 128
) -> Images:
    """Each image encoded, its latent noised by up to `most_noise` standard deviations, and decoded; kept as `kept`."""
    if kept.exists():
        return np.asarray(np.load(kept)["images"])
    generator = torch.Generator().manual_seed(seed)
    spread = codec.encode(vae, images[:512])[0].std()
    decoded = []
    for start in range(0, len(images), batch):
        latents = codec.encode(vae, images[start : start + batch])[0]
        amount = most_noise * torch.rand(len(latents), 1, 1, 1, generator=generator) ** 2
        decoded.append(decode(vae, latents + spread * amount * torch.randn(latents.shape, generator=generator)))
    result = np.concatenate(decoded)
    np.savez(kept, images=result)
    return result


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor) -> Images:
    """Unscaled latents to uint8 images."""
    with half_precision(vae.device):
        images = vae.decode(latents.to(vae.device)).sample.float()
    return np.asarray(((images.clamp(-1, 1) + 1) * 127.5 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).cpu())


@torch.no_grad()
def broken(vae: AutoencoderKL, images: Images, labels: Labels, count: int, seed: int, kept: Path) -> Images:
    """Pictures that show no kind: two kinds' latents mixed half and half, cut together, or drowned in noise."""
    if kept.exists():
        return np.asarray(np.load(kept)["images"])
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(images), (count,), generator=generator).numpy()
    second = torch.randint(len(images), (count,), generator=generator).numpy()
    differ = labels[first] != labels[second]
    a, b = (codec.encode(vae, images[chosen[differ]])[0] for chosen in (first, second))
    share = 0.35 + 0.3 * torch.rand(len(a), 1, 1, 1, generator=generator)
    ramp = torch.linspace(0, 1, 16).view(1, 1, 1, 16) > share
    noise = a.std() * torch.randn(a.shape, generator=generator)
    styles = torch.stack(
        [share * a + (1 - share) * b, torch.where(ramp, a, b), 0.3 * a + noise, 0.8 * F.avg_pool2d(noise, 3, 1, 1) * 3]
    )
    which = torch.randint(4, (len(a),), generator=generator)
    mixed = styles[which, torch.arange(len(a))]
    result = np.concatenate([decode(vae, mixed[start : start + 128]) for start in range(0, len(mixed), 128)])
    np.savez(kept, images=result)
    return result


def _cropped(images: Tensor, scale: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    zero = torch.zeros_like(scale)
    rows = torch.cat([torch.cat([scale, zero, dx], -1), torch.cat([zero, scale, dy], -1)], -2).squeeze(1)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _blurred(images: Tensor) -> Tensor:
    tap = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device)
    kernel = torch.outer(tap, tap).div(256).expand(3, 1, 5, 5)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="replicate"), kernel, groups=3)
