"""Images as bytes: one PNG file and one digest for the same pixels, wherever and whenever they are made."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from seedbank.records import sha256

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """``[H, W, 3]`` as a PNG file without metadata; the same pixels always give the same bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    # The level is named: a new default of Pillow would change every digest.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def pixel_digest(pixels: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of ``HxWx3`` and the raw RGB bytes: the same however the file is packed."""
    # The shape goes in too: 2x6 and 3x4 pixels may have the same bytes.
    return sha256(f"{'x'.join(map(str, pixels.shape))}".encode() + pixels.tobytes())
