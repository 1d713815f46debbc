"""Measures of one photo: the numbers of :data:`seedbank.references.measures.catalogue.PHOTO`.

Great Expectations judges them; nothing here knows a threshold. Pixels are measured on a copy whose longer side is :data:`SIDE` pixels: a
threshold then means the same for a phone's 12 megapixels and for a scan, and a large photo costs little more than a small one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 256
"""Longer side in pixels at which pixels are measured."""
TILES = 16
"""Tiles a side in which detail along the sides is compared with detail inside."""
FLAT, STEP = 1.0, 12.0
"""Grey levels: a line of a bar varies less, and a bar ends in a larger step, than any sensor's plain background."""
STEPPING = 60
"""Percent of the pixels of a line that must step where a bar ends."""
NOISE_FLOOR = 4.0
"""Grey levels of detail that every photo may have along its sides."""
STANDARD_LUMINANCE, STANDARD_FIRST = 57.625, 13.125
"""Mean of the luminance quantisation table of ITU-T T.81, table K.1, and of its first eight entries; libjpeg scales it by its quality."""

Luma = npt.NDArray[np.float32]
"""Grey levels 0..255, shape (height, width)."""


@dataclass(frozen=True)
class ScaledPhoto:
    """A photo at the size at which its pixels are measured; made once for each photo.

    Attributes:
        image: the photo with its longer side at :data:`SIDE` pixels; a smaller photo as it is.
        grey: luma of ``image`` (ITU-R BT.601).
        detail: Laplacian of ``grey``, without the outermost pixels.
    """

    image: Image.Image
    grey: Luma
    detail: Luma

    @classmethod
    def of(cls, image: Image.Image) -> Self:
        """Scale an upright RGB image."""
        small = shrink(image)
        grey = np.asarray(small.convert("L"), dtype=np.float32)
        return cls(small, grey, laplacian(grey))


def shrink(image: Image.Image, side: int = SIDE) -> Image.Image:
    """The picture with its longer side scaled down to ``side`` pixels; smaller ones stay as they are."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    # reducing_gap: first down by whole numbers, which is cheap, then by BOX to the size.
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=1.0)


def laplacian(grey: Luma) -> Luma:
    """The sum of the four neighbours less four times the pixel, where all of them are; shape (height - 2, width - 2)."""
    padded = grey if min(grey.shape) >= 3 else np.pad(grey, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    return np.asarray(padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * inner)


def border(grey: Luma) -> float:
    """Share of the picture, 0..1, that lies in flat bars along its sides, as a scan's or a film's frame leaves them."""
    height, width = grey.shape
    top, bottom, left, right = (_bar(lines) for lines in (grey, grey[::-1], grey.T, grey.T[::-1]))
    inside = max(0, height - top - bottom) * max(0, width - left - right)
    return float(1 - inside / (height * width))


def edge_marks(detail: Luma) -> float:
    """Strongest detail in a tile along the sides over the strongest inside: a caption, a stamp, or a part that is cut off."""
    if min(detail.shape) < 4 * TILES:
        return 0.0
    rows, columns = (np.linspace(0, side, TILES + 1).astype(int) for side in detail.shape)
    # Root mean square of the detail in each of TILES x TILES tiles.
    energy = np.add.reduceat(np.add.reduceat(np.square(detail), rows[:-1], axis=0), columns[:-1], axis=1)
    strength = np.sqrt(energy / np.outer(np.diff(rows), np.diff(columns)))
    sides = float(max(strength[[0, -1]].max(), strength[:, [0, -1]].max()))
    return max(0.0, sides - NOISE_FLOOR) / max(float(strength[1:-1, 1:-1].max()), NOISE_FLOOR)


def jpeg_quality(original: bytes) -> float:
    """Quality 1..100 with which libjpeg would have made this file; NaN for any other format. Reads only the header's tables."""
    tables = [table for segment in _segments(original) for table in _tables(segment)]
    if not tables:
        return float("nan")
    table = tables[0]
    # Entries stop at 255: of a coarse table only the finest entries still tell the scale.
    whole = table.max() < 255
    scale = 100 * float(np.mean(table) / STANDARD_LUMINANCE if whole else np.mean(table[:8]) / STANDARD_FIRST)
    # libjpeg's jpeg_quality_scaling the other way round: scale = 5000 / q below a quality of 50, else 200 - 2 q.
    return float(np.clip((200 - scale) / 2 if scale <= 100 else 5000 / scale, 1, 100))


def measure(image: Image.Image, original: bytes = b"", *, scaled: ScaledPhoto | None = None) -> dict[str, float]:
    """Every measure of a photo by itself, by name, rounded so that they survive a change of machine; NaN for what cannot be measured.

    Args:
        image: the upright RGB image, as large as it was decoded.
        original: the file's bytes, or its first kilobytes, in which its compression is written; empty where they are not at hand.
        scaled: the same image scaled, where it is at hand.
    """
    small = scaled or ScaledPhoto.of(image)
    grey = small.grey
    found = {
        "min_side_px": float(min(image.size)),
        "aspect": max(image.size) / min(image.size),
        # Variance of the Laplacian (Pech-Pacheco et al. 2000).
        "sharpness": float(small.detail.var()),
        "exposure": float(grey.mean()) / 255,
        "contrast": float(grey.std()) / 255,
        "jpeg_quality": jpeg_quality(original),
        "border": border(grey),
        "edge_marks": edge_marks(small.detail),
    }
    return {name: round(value, 4) for name, value in found.items()}


def _bar(lines: Luma) -> int:
    """How many lines, from the first on, are a flat bar that ends in a step; 0 when they are plain background."""
    flat = lines.std(axis=1) < FLAT
    # argmin finds the first line that is not flat, and 0 where there is none.
    length = int(len(flat) if flat.all() else np.argmin(flat))
    # Most of a line must step: where a thing on a white ground begins, only some of its pixels do.
    steps = np.percentile(np.abs(np.diff(lines[: length + 2], axis=0)), 100 - STEPPING, axis=1) > STEP
    return int(np.argmax(steps)) + 1 if steps.any() else 0


def _segments(original: bytes) -> Iterator[bytes]:
    """The payloads of a JPEG file's quantisation segments (marker DQT), up to the start of its picture."""
    # After SOI: segments of a marker and a big-endian length that counts itself, up to SOS (ITU-T T.81, B.1 and B.2).
    offset = 2 if original[:2] == b"\xff\xd8" else len(original)
    while offset + 4 <= len(original) and original[offset] == 0xFF and original[offset + 1] != 0xDA:
        (length,) = struct.unpack(">H", original[offset + 2 : offset + 4])
        if original[offset + 1] == 0xDB:
            yield original[offset + 4 : offset + 2 + length]
        # A length below 2 is damage, and must not hold the walk up.
        offset += 2 + max(length, 2)


def _tables(segment: bytes) -> Iterator[npt.NDArray[np.uint16]]:
    """The quantisation tables of one segment, those of 8 and of 16 bits."""
    while segment:
        # Pq, the upper half of the first byte: 0 for entries of 8 bits, 1 for 16 (ITU-T T.81, B.2.4.1).
        kind: npt.DTypeLike = ">u2" if segment[0] >> 4 else ">u1"
        size = 1 + 64 * np.dtype(kind).itemsize
        if len(segment) < size:
            return
        yield np.frombuffer(segment[1:size], dtype=kind).astype(np.uint16)
        segment = segment[size:]
