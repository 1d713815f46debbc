"""What people and attackers hand in: each is handled or quarantined with a reason, and the photo beside it is taken in."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from seedbank.bank import Bank
from seedbank.references.intake.outcomes import Outcome
from seedbank.references.records import load_photos
from support.photos import Take, jpeg, photo, put

Make = Callable[[], bytes]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def polyglot() -> bytes:
    buffer = io.BytesIO(jpeg(photo()))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("run.sh", "echo hello")
    return buffer.getvalue()


def bomb() -> bytes:
    """81 million black pixels in 240 KB."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packer, row = zlib.compressobj(9), bytes(1 + 3 * 9000)
    packed = b"".join(packer.compress(row) for _ in range(9000)) + packer.flush()
    head = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def gigantic() -> bytes:
    data = bytearray(saved(Image.new("RGB", (16, 16)), "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] in (256, 257):
            struct.pack_into("<HHII", data, entry, struct.unpack_from("<H", data, entry)[0], 4, 1, 4_000_000_000)
    return bytes(data)


def animated() -> bytes:
    return saved(photo(), "WEBP", save_all=True, append_images=[photo(index=1)])


def deep() -> bytes:
    return saved(photo().convert("I").point(lambda level: level * 257).convert("I;16"), "PNG")


def odd_profile() -> bytes:
    return saved(photo(), "JPEG", icc_profile=b"\0\0\2\x30ADBE\2\x10" + b"\xff" * 500)


QUARANTINED: list[tuple[str, Make, str]] = [
    ("truncated", lambda: jpeg(photo())[:1500], r"corrupt: it cannot be decoded \(.*truncated"),
    ("wrong type", lambda: b"%PDF-1.7\n1 0 obj", "not a picture: expected JPEG, PNG, WebP, TIFF or HEIC"),
    ("page", lambda: b"<html><img src=x onerror=alert(1)></html>", "not a picture"),
    ("drawing", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    ("polyglot", polyglot, "two files in one: a ZIP archive hides in the picture"),
    ("bomb", bomb, "too many pixels: 9000 x 9000"),
    ("gigantic", gigantic, "too many pixels: at most 50,000,000 are decoded"),
    ("animated", animated, "animated: 2 pictures in one WEBP"),
    ("empty", lambda: b"", "empty: the file has no bytes"),
    ("one byte", lambda: b"\xff", "not a picture"),
]
TAKEN: list[tuple[str, Make]] = [
    ("16 bits", deep),
    ("CMYK", lambda: saved(photo().convert("CMYK"), "JPEG")),
    ("broken profile", odd_profile),
    ("transparent", lambda: saved(photo().convert("RGBA"), "PNG")),
    ("broken EXIF", lambda: saved(photo(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\1" * 40)),
]


def handed_in(bank: Bank, take: Take, folder: Path, name: str, data: bytes) -> dict[str, Outcome]:
    """What becomes of a file, and of a good photo that comes after it."""
    put(folder / "in" / "wingnut", name, data)
    put(folder / "in" / "wingnut", "zzzzz-a good photo.jpg", jpeg(photo(index=9)))
    report = take(bank, folder / "in")
    return {item.name: item for kind in report.counts for item in report.of_kind(kind)}


@pytest.mark.parametrize(("make", "reason"), [item[1:] for item in QUARANTINED], ids=[item[0] for item in QUARANTINED])
def test_it_is_quarantined_with_a_reason_and_the_batch_goes_on(
    bank: Bank, take: Take, tmp_path: Path, make: Make, reason: str
) -> None:
    import re

    became = handed_in(bank, take, tmp_path, "x.jpg", make())
    assert {name: item.kind for name, item in became.items()} == {
        "x.jpg": "quarantined",
        "zzzzz-a good photo.jpg": "accepted",
    }
    assert re.match(reason, became["x.jpg"].reason)
    assert bank.store.exists(f"quarantine/bytes/{became['x.jpg'].digest}")


@pytest.mark.parametrize("make", [item[1] for item in TAKEN], ids=[item[0] for item in TAKEN])
def test_it_is_handled(bank: Bank, take: Take, tmp_path: Path, make: Make) -> None:
    became = handed_in(bank, take, tmp_path, "x.jpg", make())
    assert {item.kind for item in became.values()} == {"accepted"}
    for reference in load_photos(bank, "wingnut"):
        with Image.open(io.BytesIO(bank.store.get(f"working/{reference.photo}.png"))) as copy:
            assert (copy.mode, copy.info, dict(copy.getexif())) == ("RGB", {}, {})


def test_originals_are_kept_byte_for_byte(bank: Bank, take: Take, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    data = saved(photo(), "JPEG", exif=exif, comment=b"as it came")
    handed_in(bank, take, tmp_path, "x.jpg", data)
    reference = next(item for item in load_photos(bank, "wingnut") if item.name == "x.jpg")
    assert bank.store.get(f"originals/{reference.photo}") == data
    working = bank.store.get(f"working/{reference.photo}.png")
    assert b"as it came" not in working
    assert b"Exif" not in working


def test_a_link_is_quarantined_and_what_it_points_at_is_not_read(bank: Bank, take: Take, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", "secret.jpg", jpeg(photo(index=3)))
    (tmp_path / "in" / "wingnut").mkdir(parents=True)
    (tmp_path / "in" / "wingnut" / "link.jpg").symlink_to(outside)
    (tmp_path / "in" / "wingnut" / "link.jpg.yaml").symlink_to(outside.with_name("secret.jpg.yaml"))
    (outcome,) = take(bank, tmp_path / "in").quarantined
    assert outcome.reason.startswith("a symbolic link: links are not followed")
    assert list(bank.store.keys("originals/")) == []


def test_names_that_mislead_are_shown_plainly_and_twins_are_quarantined(bank: Bank, take: Take, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "wingnut"
    for index, name in enumerate(
        ("exe\u202egpj.jpg", "a\u200bb.jpg", "caf\u00e9.jpg", "cafe\u0301.jpg", "\u0455eal.jpg")
    ):
        put(folder, name, jpeg(photo(index=index)))
    report = take(bank, tmp_path / "in")
    assert {item.name for item in report.accepted} == {
        "exe\ufffdgpj.jpg",
        "a\ufffdb.jpg",
        "caf\u00e9.jpg",
        "\u0455eal.jpg",
    }
    (twin,) = report.quarantined
    assert twin.reason.startswith("a name twin: it looks the same as another file of this folder")


def test_very_many_tiny_files_are_each_accounted_for(
    bank: Bank, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr("seedbank.references.intake.outcomes.KEPT", 10)
    monkeypatch.setattr("seedbank.references.intake.scans.SEGMENT", 100)
    folder = tmp_path / "in" / "wingnut"
    folder.mkdir(parents=True)
    for number in range(600):
        (folder / f"{number}.jpg").write_bytes(number.to_bytes(2, "big"))
    seen: list[Outcome] = []
    report = take(bank, tmp_path / "in", progress=seen.append)
    assert report.counts == {"accepted": 0, "waiting": 0, "known": 0, "duplicate": 0, "quarantined": 600}
    assert len(report.quarantined) == 10
    assert sorted(item.name for item in seen) == sorted(f"{number}.jpg" for number in range(600))
    assert take(bank, tmp_path / "in").counts == report.counts
