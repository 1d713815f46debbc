"""Likeness: how the photos of a concept relate to each other. Copies, how alike they are, and how many different photos there really are.

*Copies* are found in the pixels: two photos are copies when one, slightly cropped, is the other. *Likeness* and *variety* are found in the
embeddings of a vision model, of which only unit vectors come in here, one row for each photo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from seedbank.selection.judging.diversity import effective_number as effective_number

Floats = npt.NDArray[np.float64]

THUMB = 32
"""Side in pixels of the thumbnails that are compared: small enough that compression and noise vanish."""
CROPS = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85)
"""Shares of a side that a copy may have been cropped to."""
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where such a crop may lie, from one border to the other."""
BACKGROUND_SCALE = 2.0
"""Standard deviation, in thumbnail pixels, of the blur that is taken out: two photos on one gradient are not copies."""
EMPTY = 1e-3
"""Grey levels of detail below which a thumbnail shows nothing."""


def thumbnail(image: Image.Image) -> Image.Image:
    """The image squeezed into a square of ``4 * THUMB`` pixels a side, as small as :func:`sameness` needs it; RGB."""
    return image.convert("RGB").resize((4 * THUMB, 4 * THUMB), Image.Resampling.BOX, reducing_gap=1.0)


def sameness(images: Sequence[Image.Image]) -> Floats:
    """How far one image is a slight crop of another, -1..1, shape (n, n): the best normalised cross-correlation of thumbnails."""
    if not images:
        return np.zeros((0, 0))
    small = [thumbnail(image) for image in images]
    whole = _details(np.stack([_pixels(image, (0, 0, 4 * THUMB, 4 * THUMB)) for image in small]))
    # Unit vectors of zero mean: products are normalised cross-correlations.
    one_way = np.stack([(_crops(image) @ whole.T).max(axis=0) for image in small]).astype(np.float64)
    return np.asarray(np.maximum(one_way, one_way.T), dtype=np.float64)


def likeness(similarity: Floats, peers: npt.NDArray[np.bool_]) -> Floats:
    """How alike each photo is to the half of the ``peers`` that it is most alike to, by mean cosine; NaN where there are none.

    Half of them, because one part photographed from two sides makes two groups, and neither is an outlier. Not fewer, because then a few
    outliers of one kind would vouch for each other.

    Args:
        similarity: cosines between photos, shape (n, n).
        peers: the photos to compare with, shape (n,); a photo is never compared with itself.
    """
    others = peers[None, :] & ~np.eye(len(peers), dtype=bool)
    return np.array([_top_half(row[mask]) for row, mask in zip(similarity, others, strict=True)])


def likeness_to(similarity: Floats) -> Floats:
    """How alike each picture is to the half of the photos that it is most alike to, from their cosines, shape (pictures, photos)."""
    return np.array([_top_half(row) for row in similarity])


def spread(similarity: Floats) -> float:
    """Mean cosine distance between two different photos, 0..2; 0 for a single one."""
    count = len(similarity)
    return float(1 - (similarity.sum() - np.trace(similarity)) / (count * (count - 1))) if count > 1 else 0.0


def to_own_mean(vectors: Floats, peers: npt.NDArray[np.bool_]) -> Floats:
    """Cosine of each photo to the mean direction of the ``peers`` other than itself; there must be two of them at least."""
    # Leave-one-out: from a peer's sum it is taken out itself.
    means = vectors[peers].sum(axis=0) - vectors * peers[:, None]
    return np.asarray((vectors * means).sum(axis=1) / np.maximum(np.linalg.norm(means, axis=1), 1e-12))


def coverage(similarity: Floats, chosen: Sequence[int], peers: npt.NDArray[np.bool_]) -> float:
    """Mean likeness of the ``peers`` to the ``chosen`` photo nearest to each, at most 1; 0 where there are none of either."""
    return float(similarity[:, chosen].max(axis=1)[peers].mean()) if len(chosen) and peers.any() else 0.0


def _top_half(values: Floats) -> float:
    return float(np.sort(values)[len(values) // 2 :].mean()) if len(values) else float("nan")


def _crops(small: Image.Image) -> npt.NDArray[np.float32]:
    """Unit vectors of the image and of its slight crops, shape (crops, 3 THUMB²)."""
    side = 4 * THUMB
    corners = [(share, x, y) for share in CROPS for x in STEPS for y in STEPS if share < 1 or x == y == 0]
    boxes = [(x * side * (1 - share), y * side * (1 - share), share * side) for share, x, y in corners]
    return _details(np.stack([_pixels(small, (left, top, left + length, top + length)) for left, top, length in boxes]))


def _pixels(small: Image.Image, box: tuple[float, float, float, float]) -> npt.NDArray[np.float32]:
    """The box as a thumbnail, shape (THUMB, THUMB, 3)."""
    return np.asarray(small.resize((THUMB, THUMB), Image.Resampling.BOX, box=box), dtype=np.float32)


def _details(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Thumbnails (n, THUMB, THUMB, 3) without their soft background, as unit vectors. Colours count: brass is no copy of steel."""
    detail = pixels - ndimage.gaussian_filter(pixels, (0, BACKGROUND_SCALE, BACKGROUND_SCALE, 0), mode="nearest")
    detail -= detail.mean(axis=(1, 2), keepdims=True)
    flat = detail.reshape(len(detail), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.where(length > EMPTY, flat / np.maximum(length, EMPTY), 0), dtype=np.float32)
