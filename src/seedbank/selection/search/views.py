"""Views: windows of a picture, so that an objective is met by the picture and not by one way of looking at it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from seedbank.selection.sampling.noise import generator

Window = tuple[float, float, float]
"""(side, top, left): the side as a share of the picture's shorter one, the place as shares of the room left."""


def windows(root: str, name: str, count: int, *, smallest: float) -> tuple[Window, ...]:
    """``count`` square windows with sides of ``smallest`` to 1; the same arguments give the same windows."""
    random = generator(root, name)
    sides = random.uniform(smallest, 1.0, count)
    places = random.uniform(0.0, 1.0, (count, 2))
    return tuple((float(side), float(top), float(left)) for side, (top, left) in zip(sides, places, strict=True))


def look(images: Tensor, window: Window) -> Tensor:
    """What each image ``[B, 3, H, W]`` shows in the window, at its own size. Differentiable."""
    height, width = images.shape[-2:]
    side, top, left = window
    size = max(1, round(side * min(height, width)))
    y, x = round(top * (height - size)), round(left * (width - size))
    return F.interpolate(images[..., y : y + size, x : x + size], (height, width), mode="bilinear", antialias=True)
