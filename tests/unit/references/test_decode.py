import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from seedbank.references import decode as module
from seedbank.references.decode import NotAPhoto, decode


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int16)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_allowed_format_comes_out_as_the_same_picture(kind: str) -> None:
    options = {"quality": 95} if kind in {"JPEG", "WEBP"} else {}
    decoded = decode(saved(gradient(), kind, **options))
    assert decoded.format == kind
    assert decoded.image.mode == "RGB"
    assert np.abs(pixels(decoded.image) - pixels(gradient())).mean() < 6


def test_the_working_copy_is_a_png_with_nothing_but_pixels() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8825)[1] = "N"
    decoded = decode(saved(gradient(), "JPEG", exif=exif, comment=b"secret"))
    with Image.open(io.BytesIO(decoded.to_png())) as copy:
        assert copy.format == "PNG"
        assert not copy.getexif()
        assert not {"exif", "comment", "icc_profile"} & set(copy.info)
        assert np.array_equal(pixels(copy), pixels(decoded.image))


def test_the_orientation_in_the_exif_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(saved(gradient(), "PNG", exif=exif)).image
    assert turned.size == (32, 48)
    assert np.array_equal(pixels(turned), pixels(gradient().transpose(Image.Transpose.ROTATE_270)))


def test_a_broken_exif_block_does_not_lose_the_photo() -> None:
    assert decode(saved(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\x01" * 40)).image.size == (
        48,
        32,
    )


def test_transparency_is_laid_on_white() -> None:
    layer = gradient().convert("RGBA")
    layer.putalpha(0)
    assert (pixels(decode(saved(layer, "PNG")).image) == 255).all()


def test_sixteen_bit_grey_keeps_its_range() -> None:
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(8, 0)
    assert np.array_equal(pixels(decode(saved(Image.fromarray(ramp), "PNG")).image)[0, :, 0], ramp[0] >> 8)


def test_cmyk_becomes_rgb() -> None:
    red = decode(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")).image.getpixel((8, 8))
    assert red[0] > 200
    assert red[1] < 60


def test_a_colour_profile_is_converted_to_srgb() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = decode(saved(gradient(), "PNG", icc_profile=srgb))
    assert np.abs(pixels(same.image) - pixels(gradient())).max() <= 1
    swapped = srgb.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ")
    red = decode(saved(Image.new("RGB", (8, 8), "red"), "PNG", icc_profile=swapped))
    assert red.image.getpixel((4, 4)) == pytest.approx((0, 255, 0), abs=2)


def test_a_broken_profile_is_ignored() -> None:
    decoded = decode(saved(gradient(), "PNG", icc_profile=b"not a profile"))
    assert np.array_equal(pixels(decoded.image), pixels(gradient()))


def test_what_hangs_behind_the_picture_stays_behind() -> None:
    decoded = decode(saved(gradient(), "PNG") + b"PK\x03\x04 a zip archive")
    assert b"PK\x03\x04" not in decoded.to_png()


def animation(kind: str) -> bytes:
    return saved(gradient(), kind, save_all=True, append_images=[Image.new("RGB", (48, 32))])


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"%PDF-1.7 and so on", "not a picture"),
        (saved(gradient(), "GIF"), "not a picture"),
        (animation("WEBP"), "animated: 2 pictures in one WEBP"),
        (animation("TIFF"), "animated: 2 pictures in one TIFF"),
        (animation("PNG"), "animated: 2 pictures in one PNG"),
        (saved(gradient(480, 320), "JPEG")[:2000], "corrupt: .*truncated"),
        (saved(gradient(480, 320), "PNG")[:600], "corrupt"),
        (png_header(60_000, 60_000), "too many pixels"),
        (png_header(8_000, 8_000), "too many pixels: 8000 x 8000"),
        (png_header(30_000, 10), "too many pixels: 30000 x 10"),
        (saved(Image.new("F", (8, 8)), "TIFF"), "unusual depth"),
    ],
)
def test_what_is_no_sane_picture_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(NotAPhoto, match=reason):
        decode(data)


def test_a_file_over_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(NotAPhoto, match=r"too big: [\d,]+ bytes, at most 100"):
        decode(saved(gradient(), "PNG"))


SAMPLES = [saved(gradient(), kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4)), min_size=1, max_size=8),
    st.integers(0, 60),
)
def test_damaged_files_decode_or_say_why_not(data: bytes, changes: list[tuple[int, bytes]], cut: int) -> None:
    spoiled = bytearray(data[: max(1, len(data) - cut)])
    for place, new in changes:
        place %= len(spoiled)
        spoiled[place : place + len(new)] = new
    with contextlib.suppress(NotAPhoto):  # anything else that is raised fails the test
        decoded = decode(bytes(spoiled))
        assert decoded.image.mode == "RGB"
        assert 0 < decoded.image.width * decoded.image.height <= module.MAX_PIXELS


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_refused_politely(data: bytes) -> None:
    with pytest.raises(NotAPhoto):
        decode(data)
