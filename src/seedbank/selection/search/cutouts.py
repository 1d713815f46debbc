"""Cutouts: square crops of an image, so that an objective is met by what the image shows and not by one framing of it (DOODL)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from seedbank.selection.sampling.noise import generator


@dataclass(frozen=True)
class Cutout:
    """A square crop.

    Attributes:
        side: as a share of the image's shorter side, 0..1.
        top: of what the crop leaves of the height, the share above it, 0..1.
        left: likewise of the width.
    """

    side: float
    top: float
    left: float


def random_cutouts(root: str, name: str, count: int, *, smallest: float) -> tuple[Cutout, ...]:
    """``count`` cutouts with sides of ``smallest`` to 1 anywhere in the image; the same arguments give the same cutouts."""
    random = generator(root, name)
    sides = random.uniform(smallest, 1.0, count).tolist()
    places = random.uniform(0.0, 1.0, (count, 2)).tolist()
    return tuple(Cutout(side, top, left) for side, (top, left) in zip(sides, places, strict=True))


def crop(images: Tensor, cutout: Cutout) -> Tensor:
    """The cutout of each of ``images`` ``[B, 3, H, W]``, scaled up to H x W. Differentiable."""
    height, width = images.shape[-2:]
    size = max(1, round(cutout.side * min(height, width)))
    # Places are shares of what the crop leaves over, so a crop of any size lies within the image.
    y, x = round(cutout.top * (height - size)), round(cutout.left * (width - size))
    return F.interpolate(images[..., y : y + size, x : x + size], (height, width), mode="bilinear", antialias=True)
