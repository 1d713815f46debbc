"""Decoding: bytes of unknown origin in, an upright sRGB picture without metadata out, or a reason why not.

The rules, in the order in which they are checked:

1. at most :data:`MAX_BYTES`; 2. JPEG, PNG, WebP, TIFF or HEIC by content, whatever the name says; 3. one picture, not an animation or a
   document of several pages; 4. at most :data:`MAX_PIXELS` and :data:`MAX_SIDE`, read from the header before a pixel is decoded;
5. no second file in the first (:mod:`.polyglots`); 6. every pixel decodes. Then the orientation of the EXIF is applied,
the colour profile converted to sRGB and transparency laid on white.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from seedbank.errors import RefusedError
from seedbank.references.intake.polyglots import second_file

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF")
MAX_BYTES = 64 * 2**20
"""More than any camera's JPEG; a bigger file is a scan or an attack."""
MAX_PIXELS = 50_000_000
"""150 MB once decoded, the most one picture may cost."""
MAX_SIDE = 20_000
"""A strip of 1 x 50,000,000 pixels is within :data:`MAX_PIXELS` and no photo."""
STORED_BLOCK = 65_535
"""Most bytes of a stored block (RFC 1951, 3.2.4)."""
PROFILED = frozenset({"RGB", "CMYK", "L", "LAB", "YCbCr"})
"""Modes whose profile is converted; transparent ones are, once their transparency is laid aside."""


class NotAPhoto(RefusedError):
    """The bytes are not one sane picture; the message says why and what to do."""


class NotNow(NotAPhoto):
    """The bytes could not be had or decoded this time; the same file may be fine at the next scan."""


@dataclass(frozen=True)
class Decoded:
    """An upright 8-bit RGB picture in sRGB, without metadata, and the format it came in."""

    image: Image.Image
    format: str

    def to_png(self) -> bytes:
        """The working copy: lossless, and nothing but pixels.

        Stored, not compressed: deflating a photo takes ten times as long as decoding it, for half the size. And equal pixels have equal
        bytes, whichever library is installed.
        """
        width, height = self.image.size
        rows = np.empty((height, 1 + 3 * width), np.uint8)
        rows[:, 0] = 0  # every row begins with its filter: none
        rows[:, 1:] = np.asarray(self.image).reshape(height, 3 * width)
        # IHDR (PNG specification, 11.2.2): 8 bits, truecolour, deflate, filter method 0, not interlaced.
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        parts = (b"\x89PNG\r\n\x1a\n", *_chunk(b"IHDR", head), *_chunk(b"IDAT", *_stored(rows)), *_chunk(b"IEND"))
        return b"".join(parts)


def decode(data: bytes) -> Decoded:
    """Decode one picture.

    Raises:
        NotAPhoto: the bytes break one of the rules above.
    """
    if len(data) > MAX_BYTES:
        raise NotAPhoto(too_big(len(data)))
    if not data:
        raise NotAPhoto("empty: the file has no bytes; copy it again")
    _know_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(data)
    except NotAPhoto:
        raise
    except UnidentifiedImageError:
        raise NotAPhoto(
            "not a picture: expected JPEG, PNG, WebP, TIFF or HEIC by content; convert it or remove it"
        ) from None
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
        if hidden := second_file(data, kind):
            raise NotAPhoto(f"two files in one: {hidden} hides in the picture; export the picture again")
        # Only now is a pixel decoded: everything above needs the header and the raw bytes.
        image.load()
        plain = _srgb(_upright(image))
    bare = plain.copy()  # a picture that knows of no file
    bare.info = {}
    return Decoded(bare, kind)


def _upright(image: Image.Image) -> Image.Image:
    with suppress(Exception):  # a broken EXIF block says nothing about the pixels: take them as they lie
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _srgb(image: Image.Image) -> Image.Image:
    """RGB in sRGB: depth reduced, transparency laid on white, profile converted."""
    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.mode in {"I", "F"}:
        raise NotAPhoto(
            f"unusual depth: pixels of mode {image.mode}, expected 8 or 16 bits a channel; save it as an 8-bit PNG"
        )
    profile, cover = image.info.get("icc_profile"), None
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        image, cover = layer.convert("RGB"), layer.getchannel("A")
    elif image.mode in {"P", "1"}:
        image = image.convert("RGB")
    if profile or image.mode == "LAB":
        image = _converted(image, profile)
    image = image if image.mode == "RGB" else image.convert("RGB")
    return image if cover is None else Image.composite(image, Image.new("RGB", image.size, "white"), cover)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Sixteen bits of grey as eight, with the profile they came with."""
    reduced = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    reduced.info = dict(image.info)
    reduced.info.pop("transparency", None)
    return reduced


def _converted(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode not in PROFILED:
        return image
    try:
        lab = image.mode == "LAB" and not profile
        source = ImageCms.createProfile("LAB") if lab else ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        # A broken profile, or one of another colour space: take the pixels as sRGB, as every viewer does.
        return image


@cache
def _know_heif() -> None:
    """Teach Pillow HEIC. One thread: a decoder in bounds on processes must not count on more."""
    import pi_heif

    pi_heif.register_heif_opener(thumbnails=False, decode_threads=1)


def _chunk(name: bytes, *body: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
    """A chunk of a PNG (PNG specification, 5.3)."""
    check = zlib.crc32(name)
    for part in body:
        check = zlib.crc32(part, check)
    return struct.pack(">I", sum(map(len, body))), name, *body, struct.pack(">I", check)


def _stored(rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> tuple[bytes | memoryview, ...]:
    """A zlib stream (RFC 1950) of stored blocks."""
    raw = rows.reshape(-1).data
    # CMF and FLG (RFC 1950, 2.2): deflate with a 32 KiB window; together a multiple of 31.
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for start in range(0, len(raw), STORED_BLOCK):
        block = raw[start : start + STORED_BLOCK]
        last = start + STORED_BLOCK >= len(raw)
        # BFINAL with BTYPE 00, which fill a byte here; LEN; NLEN, its complement (RFC 1951, 3.2.4).
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return *parts, struct.pack(">I", zlib.adler32(raw))


def _first_words(error: Exception) -> str:
    words = " ".join(str(error).split())
    return (words or type(error).__name__)[:120]
