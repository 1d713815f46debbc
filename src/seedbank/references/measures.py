"""Measures of one photo: numbers with a name, a unit and a source. Great Expectations judges them; nothing here knows a threshold.

Sharpness, contrast, clipping and noise are measured on the photo's luma, scaled down so that its longer side is :data:`SIDE` pixels: a
threshold then means the same for a phone's 12 megapixels and for a scan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

SIDE = 256
"""Longer side in pixels at which pixels are measured."""
DARK, BRIGHT = 2, 253
"""Grey levels at and beyond which a sensor has nothing more to say."""

Luma = npt.NDArray[np.float64]
"""Grey levels 0..255, shape (height, width)."""


@dataclass(frozen=True)
class Measure:
    """One number about a photo.

    Attributes:
        name: its column in the table of photos.
        unit: what it is counted in.
        source: who defined it.
        of: computes it from the picture and its luma at :data:`SIDE` pixels.
    """

    name: str
    unit: str
    source: str
    of: Callable[[Image.Image, Luma], float]


def luma(image: Image.Image, side: int = SIDE) -> Luma:
    """The luma (ITU-R BT.601) of an RGB picture, its longer side scaled down to ``side`` pixels; smaller ones stay as they are."""
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), dtype=np.float64)


def sharpness(grey: Luma) -> float:
    """Variance of the Laplacian, in squared grey levels: the energy of fine detail. A blurred photo has none."""
    return float(ndimage.laplace(grey, mode="nearest").var())


def clipped(grey: Luma) -> float:
    """Share of pixels, 0..1, that are black or white without drawing."""
    return float(np.mean((grey <= DARK) | (grey >= BRIGHT)))


def contrast(grey: Luma) -> float:
    """Root-mean-square contrast: standard deviation of the luma, 0..0.5, with white as 1."""
    return float(grey.std() / 255)


def noise(grey: Luma) -> float:
    """Standard deviation of white noise, in grey levels, from a mask that cancels edges (Immerkær 1996, eq. 5)."""
    mask = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    return float(np.sqrt(np.pi / 2) * np.abs(ndimage.convolve(grey, mask, mode="nearest")).mean() / 6)


PHOTO_MEASURES: tuple[Measure, ...] = (
    Measure("min_side_px", "pixels", "the shorter side as decoded", lambda image, _: float(min(image.size))),
    Measure("aspect", "ratio", "longer side over shorter side", lambda image, _: max(image.size) / min(image.size)),
    Measure(
        "sharpness",
        "grey levels²",
        "variance of the Laplacian, Pech-Pacheco et al. 2000",
        lambda _, grey: sharpness(grey),
    ),
    Measure("contrast", "share of white", "root-mean-square contrast, Peli 1990", lambda _, grey: contrast(grey)),
    Measure("clipped", "share of pixels", "luma at most 2 or at least 253", lambda _, grey: clipped(grey)),
    Measure("noise", "grey levels", "fast noise estimate, Immerkær 1996", lambda _, grey: noise(grey)),
)
"""Everything measured about one photo by itself."""


def measure(image: Image.Image) -> dict[str, float]:
    """All of :data:`PHOTO_MEASURES` for an upright RGB picture, rounded so that they survive a change of machine."""
    grey = luma(image)
    return {item.name: round(item.of(image, grey), 4) for item in PHOTO_MEASURES}
