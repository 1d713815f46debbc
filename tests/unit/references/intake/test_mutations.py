"""Real files, spoiled in thousands of ways: no crash, no hang, no unbounded memory, and every file accounted for exactly once.

``SEEDBANK_MUTATIONS=100000`` sets how many files the sandbox is given; a batch of them goes through one worker, within its limits of time
and memory.
"""

import io
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from seedbank.bank import Bank
from seedbank.references.intake.decode import MAX_PIXELS, NotAPhoto
from seedbank.references.intake.sandbox import Sandbox
from support.photos import RIGHTS, Take

DATA = Path(__file__).parents[3] / "data"
BATCH = 20
MUTATIONS = int(os.environ.get("SEEDBANK_MUTATIONS", "4000"))


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    x, y = np.meshgrid(np.linspace(0, 255, 48), np.linspace(0, 255, 32))
    image = Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    return saved("JPEG", exif=exif)


SAMPLES = [
    saved("JPEG"),
    saved("JPEG", progressive=True),
    saved("JPEG", "CMYK"),
    with_exif(),
    saved("PNG"),
    saved("PNG", "P"),
    saved("PNG", "RGBA"),
    saved("PNG", "LA"),
    saved("WEBP"),
    saved("WEBP", lossless=True),
    saved("TIFF"),
    saved("TIFF", compression="tiff_lzw"),
    saved("TIFF", compression="tiff_adobe_deflate"),
    saved("TIFF", compression="jpeg"),
    (DATA / "gradient.heic").read_bytes(),
]


def flip(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randint(1, 12)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def overwrite(data: bytearray, dice: random.Random) -> None:
    place = dice.randrange(len(data))
    data[place : place + 4] = dice.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", dice.randbytes(4)))


def cut(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(1, len(data)) :]


def drop(data: bytearray, dice: random.Random) -> None:
    place = dice.randrange(len(data) - 1)
    del data[place : place + dice.randint(1, 40)]


def double(data: bytearray, dice: random.Random) -> None:
    place = dice.randrange(len(data))
    data[place:place] = data[place : place + dice.randint(1, 80)]


def insert(data: bytearray, dice: random.Random) -> None:
    data[dice.randrange(len(data)) : 0] = dice.randbytes(dice.randint(1, 60))


def graft(data: bytearray, dice: random.Random) -> None:
    other = dice.choice(SAMPLES)
    data[dice.randrange(len(data)) :] = other[dice.randrange(len(other)) :]


SPOILERS: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, overwrite, cut, drop, double, insert, graft)


def spoiled(dice: random.Random) -> bytes:
    data = bytearray(dice.choice(SAMPLES))
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        if len(data) > 2:
            dice.choice(SPOILERS)(data, dice)
    return bytes(data)


@pytest.fixture(scope="module")
def room() -> Sandbox:
    with Sandbox(seconds=10) as sandbox:
        yield sandbox


@settings(
    max_examples=max(1, MUTATIONS // BATCH), deadline=None, suppress_health_check=list(HealthCheck), database=None
)
@given(seed=st.integers(0, 2**32))
def test_a_spoiled_file_is_decoded_or_says_why_not(room: Sandbox, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(BATCH):
        data = spoiled(dice)
        copy, refusal = None, ""
        try:
            copy = room.decode(data)
        except NotAPhoto as error:
            refusal = str(error)
        assert "took more than" not in refusal, "it hangs"
        # pi-heif 1.4.0 falls over some damaged HEIC files. That is what the sandbox is for: the worker is lost, and nothing else.
        assert "give up" not in refusal or data[4:8] == b"ftyp", "it crashes"
        assert refusal.isprintable()
        if copy is not None:
            assert 0 < copy.width * copy.height <= MAX_PIXELS
            with Image.open(io.BytesIO(copy.png)) as image:
                assert (image.size, image.mode) == ((copy.width, copy.height), "RGB")


def test_the_worker_that_saw_them_all_has_not_grown(room: Sandbox) -> None:
    assert room.decode(SAMPLES[0]).width == 48
    (worker,) = [item for item in psutil.Process().children() if item.pid == room.pid]
    assert worker.memory_info().rss < 700 * 2**20


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(seed=st.integers(0, 2**32))
def test_every_file_of_a_spoiled_batch_is_accounted_for_once(bank: Bank, take: Take, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    folder = tmp_path / str(seed) / "wingnut"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rights.csv").write_text(
        f"{','.join(['file', *RIGHTS])}\n"
        + "".join(f"{number}.jpg,MIT,us,dana,2026-01-05,synthetic-release\n" for number in range(30))
    )
    for number in range(30):
        (folder / f"{number}.jpg").write_bytes(dice.choice(SAMPLES) if number % 10 == 0 else spoiled(dice))
    report = take(bank, folder.parent)
    said = Counter(item.name for kind in report.counts for item in getattr(report, kind))
    assert said == Counter(f"{number}.jpg" for number in range(30))
    assert all(item.reason for item in report.quarantined)
