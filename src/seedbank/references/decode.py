"""Decoding: bytes of unknown origin in, an upright sRGB picture without metadata out, or a reason why not.

The rules, in the order in which they are checked:

1. at most :data:`MAX_BYTES`; 2. JPEG, PNG, WebP or TIFF by content, whatever the name says; 3. one picture, not an animation or a
   document of several pages; 4. at most :data:`MAX_PIXELS` and :data:`MAX_SIDE`, read from the header before a pixel is decoded;
5. every pixel decodes. Then the orientation of the EXIF is applied, the colour profile converted to sRGB and transparency laid on white.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from seedbank.errors import RefusedError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
MAX_BYTES = 64 * 2**20
"""More than any camera's JPEG; a bigger file is a scan or an attack."""
MAX_PIXELS = 50_000_000
"""150 MB once decoded, the most one picture may cost."""
MAX_SIDE = 20_000
"""A strip of 1 x 50,000,000 pixels is within :data:`MAX_PIXELS` and no photo."""


class NotAPhoto(RefusedError):
    """The bytes are not one sane picture; the message says why and what to do."""


@dataclass(frozen=True)
class Decoded:
    """An upright 8-bit RGB picture in sRGB, without metadata, and the format it came in."""

    image: Image.Image
    format: str

    def to_png(self) -> bytes:
        """The working copy: lossless, and nothing but pixels."""
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def decode(data: bytes) -> Decoded:
    """Decode one picture.

    Raises:
        NotAPhoto: the bytes break one of the rules above.
    """
    if len(data) > MAX_BYTES:
        raise NotAPhoto(too_big(len(data)))
    if not data:
        raise NotAPhoto("empty: the file has no bytes; copy it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(data)
    except NotAPhoto:
        raise
    except UnidentifiedImageError:
        raise NotAPhoto("not a picture: expected JPEG, PNG, WebP or TIFF by content; convert it or remove it") from None
    except (Image.DecompressionBombError, MemoryError):
        raise NotAPhoto(f"too many pixels: at most {MAX_PIXELS:,} are decoded; scale it down") from None
    except Exception as error:  # decoders of damaged files raise whatever their parsers stumble over
        raise NotAPhoto(
            f"corrupt: it cannot be decoded ({_first_words(error)}); copy it again from the camera"
        ) from error


def too_big(size: int) -> str:
    """The reason for a file over :data:`MAX_BYTES`."""
    return f"too big: {size:,} bytes, at most {MAX_BYTES:,} are read; save it as a JPEG"


def _decode(data: bytes) -> Decoded:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        # A phone's MPO is a JPEG with a second view behind it: the first picture is the photo.
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise NotAPhoto(
                f"animated: {getattr(image, 'n_frames', 0)} pictures in one {kind} file; save the one that is meant"
            )
        width, height = image.size
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            raise NotAPhoto(
                f"too many pixels: {width} x {height}, at most {MAX_PIXELS:,} and {MAX_SIDE:,} a side are decoded; scale it down"
            )
        image.load()
        plain = _flat(_srgb(_upright(image)))
    # A fresh picture from the raw pixels: no EXIF, GPS, text chunk or profile can come along.
    return Decoded(Image.frombytes("RGB", plain.size, plain.tobytes()), kind)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about the pixels: take them as they lie
        return image


def _srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in {"I", "F"}:
        raise NotAPhoto(
            f"unusual depth: pixels of mode {image.mode}, expected 8 or 16 bits a channel; save it as an 8-bit PNG"
        )
    if not profile or image.mode not in {"RGB", "CMYK", "L"}:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (
        ImageCms.PyCMSError,
        OSError,
        ValueError,
        TypeError,
    ):  # a broken profile: take the pixels as sRGB, as every viewer does
        return image
    return converted or image


def _flat(image: Image.Image) -> Image.Image:
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _first_words(error: Exception) -> str:
    words = " ".join(str(error).split())
    return (words or type(error).__name__)[:120]
