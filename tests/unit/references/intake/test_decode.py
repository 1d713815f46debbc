import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from seedbank.references.intake import decode as module
from seedbank.references.intake.decode import NotAPhoto, decode

DATA = Path(__file__).parents[3] / "data"


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


Turn = Image.Transpose


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (2, Turn.FLIP_LEFT_RIGHT),
        (3, Turn.ROTATE_180),
        (4, Turn.FLIP_TOP_BOTTOM),
        (5, Turn.TRANSPOSE),
        (6, Turn.ROTATE_270),
        (7, Turn.TRANSVERSE),
        (8, Turn.ROTATE_90),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_every_orientation_in_the_exif_is_turned_upright(kind: str, orientation: int, turn: Turn) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    upright = decode(saved(gradient(), kind, exif=exif, **options)).image
    expected = gradient().transpose(turn)
    assert upright.size == expected.size
    assert np.abs(pixels(upright) - pixels(expected)).max() <= (12 if kind == "JPEG" else 0)


def test_heic_of_a_phone_comes_out_upright_and_bare() -> None:
    decoded = decode((DATA / "gradient.heic").read_bytes())
    turned = gradient(96, 64).transpose(Turn.ROTATE_270)  # its EXIF says 6
    assert (decoded.format, decoded.image.size) == ("HEIF", turned.size)
    assert np.abs(pixels(decoded.image) - pixels(turned)).mean() < 4
    with Image.open(io.BytesIO(decoded.to_png())) as copy:
        assert not copy.getexif()
        assert not copy.info


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


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Colorants of the profiles adapted to D50: ICC registry, and Adobe RGB (1998) color image encoding 4.3.
WIDE = {
    "Display P3": ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)),
    "Adobe RGB": ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)),
}


def profile(colorants: tuple[tuple[float, float, float], ...]) -> bytes:
    """sRGB's profile with other primaries and the same curve."""
    data = bytearray(SRGB)
    for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True):
        entry = data.index(name, 128)
        (offset,) = struct.unpack_from(">I", data, entry + 4)
        struct.pack_into(">3i", data, offset + 8, *(round(value * 65536) for value in values))
    return bytes(data)


def colorants_of(data: bytes) -> np.ndarray:
    offsets = [struct.unpack_from(">I", data, data.index(name, 128) + 4)[0] for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return np.array([struct.unpack_from(">3i", data, offset + 8) for offset in offsets]).T / 65536


def by_hand(rgb: np.ndarray, colorants: np.ndarray) -> np.ndarray:
    """What these pixels are in sRGB, by the formulas of IEC 61966-2-1."""
    values = rgb / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    srgb = np.clip(linear @ colorants.T @ np.linalg.inv(colorants_of(SRGB)).T, 0, 1)
    return 255 * np.where(srgb <= 0.0031308, 12.92 * srgb, 1.055 * srgb ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("space", list(WIDE))
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_wide_colour_space_is_converted_to_srgb(space: str, mode: str) -> None:
    colours = np.array([[[200, 100, 50], [90, 160, 110], [60, 60, 180], [255, 255, 255], [128, 128, 128]]], np.uint8)
    data = saved(Image.fromarray(colours).convert(mode), "PNG", icc_profile=profile(WIDE[space]))
    expected = by_hand(colours.astype(float), np.array(WIDE[space]).T)
    assert np.abs(pixels(decode(data).image) - expected).max() <= 2
    assert np.abs(colours - expected).max() > 10


def test_a_picture_in_srgb_stays_as_it_is() -> None:
    assert np.abs(pixels(decode(saved(gradient(), "PNG", icc_profile=SRGB)).image) - pixels(gradient())).max() <= 1


def test_grey_and_lab_have_profiles_too() -> None:
    grey = decode(saved(gradient().convert("L"), "PNG", icc_profile=SRGB)).image  # a profile of another colour space
    assert np.array_equal(pixels(grey)[..., 0], pixels(gradient().convert("L")))
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = decode(saved(ImageCms.applyTransform(gradient(), to_lab), "TIFF")).image
    assert np.abs(pixels(lab) - pixels(gradient())).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_colour_become_eight(kind: str) -> None:
    levels = np.linspace(0, 65535, 64).astype(np.uint16)
    rows = np.stack([levels, levels[::-1], levels], -1)[None].repeat(8, 0)
    data = png_of(rows) if kind == "PNG" else tiff_of(rows)
    got = pixels(decode(data).image)
    assert np.abs(got[0] - (rows[0].astype(int) >> 8)).max() <= 1


def png_of(rows: np.ndarray) -> bytes:
    height, width, _ = rows.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def tiff_of(rows: np.ndarray) -> bytes:
    """A baseline TIFF of three 16-bit samples a pixel (TIFF 6.0, section 6)."""
    height, width, _ = rows.shape
    raw = rows.astype("<u2").tobytes()
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8 + len(raw)), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(raw)), (284, 3, 1, 1)]
    depths = struct.pack("<3H", 16, 16, 16)
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(raw) + len(depths)) + raw + depths + directory


def test_a_broken_profile_is_ignored() -> None:
    decoded = decode(saved(gradient(), "PNG", icc_profile=b"not a profile"))
    assert np.array_equal(pixels(decoded.image), pixels(gradient()))


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("run.sh", "echo hello")
    return buffer.getvalue()


def with_comment(text: bytes) -> bytes:
    return saved(gradient(), "JPEG", comment=text)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("hidden", "words"),
    [
        (zipped(), "a ZIP archive"),
        (b"<html><script>alert(1)</script></html>", "a web page or program text"),
        (b"\n<?php system('ls'); ?>", "a web page or program text"),
        (b"\x7fELF\x02\x01", "a Linux program"),
        (b"MZ\x90\0", "a Windows program"),
        (b"%PDF-1.7", "a PDF document"),
        (b"Rar!\x1a\x07\0", "a RAR archive"),
    ],
)
def test_a_second_file_behind_the_picture_is_refused(kind: str, hidden: bytes, words: str) -> None:
    with pytest.raises(NotAPhoto, match=f"two files in one: {words} hides in the picture; export the picture again"):
        decode(saved(gradient(), kind) + hidden)


def test_a_pdf_that_begins_in_a_comment_is_refused() -> None:
    with pytest.raises(NotAPhoto, match="two files in one: a PDF document"):
        decode(with_comment(b"%PDF-1.7\n1 0 obj"))


@pytest.mark.parametrize(
    "behind",
    [
        b"",
        bytes(64),
        b"\0\0\0\x18ftypmp42 a phone's film <?xml with its own description?>",
        saved(gradient(), "JPEG") + b"<?xpacket",
        b"a maker's notes",
    ],
    ids=["nothing", "padding", "film", "second view", "notes"],
)
def test_what_cameras_hang_behind_a_photo_is_left_behind(behind: bytes) -> None:
    decoded = decode(saved(gradient(), "JPEG") + behind)
    assert decoded.image.size == (48, 32)
    assert behind == b"" or behind not in decoded.to_png()


def animation(kind: str) -> bytes:
    return saved(gradient(), kind, save_all=True, append_images=[Image.new("RGB", (48, 32))])


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int) -> bytes:
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
        ((DATA / "two-pictures.heic").read_bytes(), "animated: 2 pictures in one HEIF"),
        ((DATA / "gradient.heic").read_bytes()[:900], "corrupt|not a picture"),
    ],
)
def test_what_is_no_sane_picture_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(NotAPhoto, match=reason):
        decode(data)


def test_a_file_over_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(NotAPhoto, match=r"too big: [\d,]+ bytes, at most 100"):
        decode(saved(gradient(), "PNG"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_refused_politely(data: bytes) -> None:
    with pytest.raises(NotAPhoto):
        decode(data)
