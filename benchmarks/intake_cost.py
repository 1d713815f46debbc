"""What taking photos in costs: time against decoding alone, memory against the number of photos, and what a second scan reads.

1. **Time.** One-megapixel JPEGs through ``intake`` (read, hash, decode in sandboxes, look for faces, measure, store, record), the measures
   then read back as validation does; against only decoding them with Pillow one after another in this process. Rounds of the one and the
   other in turn.
2. **Memory.** Peak resident memory of the process that takes in 100 to 100,000 small photos, and of its largest decoder.
3. **Second scan.** How many photos the next scan of those opens, and how long it takes.

Writes ``results/intake_cost.json`` and ``.md`` beside this file.

    python benchmarks/intake_cost.py                 # about 15 minutes
    python benchmarks/intake_cost.py --photos 200 --counts 100 1000
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import psutil
import yaml
from PIL import Image

from seedbank.bank import Bank
from seedbank.references.intake import sources
from seedbank.references.intake.outcomes import Outcome
from seedbank.references.intake.run import intake
from seedbank.references.measures.kept import load_measures
from seedbank.references.photos import working_image
from seedbank.references.records import load_photos
from seedbank.settings import Settings

RESULTS = Path(__file__).parent / "results"
ROUNDS = 3
WIDTH, HEIGHT = 1152, 868
"""One megapixel, 4:3."""
QUALITY, GRAIN = 92, 4.0
"""What a camera's fine JPEGs have: little compression, some sensor noise (grey levels)."""
DISTINCT = 24
LIMIT = 4.0
HEAD = "file,licence,source,cleared_by,cleared_on,purpose"
ROW = "{},CC0-1.0,benchmark,bench,2026-01-05,synthetic-release"


@dataclass(frozen=True)
class Round:
    """Seconds of one round over all photos, by the clock and of processors, decoders included."""

    pillow: float
    intake: float
    measures: float
    pillow_processors: float
    intake_processors: float
    measures_processors: float

    @property
    def ratio(self) -> float:
        """Intake plus measures over decoding alone."""
        return (self.intake + self.measures) / self.pillow

    @property
    def ratio_of_processors(self) -> float:
        """The same if two processors had nothing else to do: the work of intake shared by both, that of the others done by one."""
        return (self.intake_processors / 2 + self.measures_processors) / self.pillow_processors


@dataclass(frozen=True)
class Scale:
    """What one number of small photos took."""

    photos: int
    seconds: float
    peak_mib: float
    decoder_peak_mib: float
    again_seconds: float
    again_opened: int
    again_peak_mib: float


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=300, help="one-megapixel photos (default %(default)s)")
    parser.add_argument("--counts", type=int, nargs="*", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--work", type=Path, help="folder for the banks of the first part (default: a temporary one)")
    parser.add_argument("--scale", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.fill:
        fill(chosen.fill, small(chosen.scale))
        return
    if chosen.scale:
        print(json.dumps(asdict(scale(chosen.scale))))
        return
    with tempfile.TemporaryDirectory(dir=chosen.work) as folder:
        rounds = list(time_rounds(Path(folder), chosen.photos)) if chosen.photos else []
    scales = [in_process_of_its_own(count) for count in chosen.counts]
    write(rounds, scales, chosen.photos)


def time_rounds(folder: Path, count: int) -> Iterator[Round]:
    """Both ways over the same photos, in turn."""
    photos = fill(folder / "photos" / "bolt", megapixel(count))
    for number in range(ROUNDS):
        bank = make_bank(folder / f"bank-{number}")
        pillow = timed(lambda: decode_all(photos))
        taken = timed(lambda bank=bank: take_all(bank, folder / "photos", count))  # type: ignore[misc]
        measured = timed(lambda bank=bank: measure_all(bank))  # type: ignore[misc]
        found = Round(pillow[0], taken[0], measured[0], pillow[1], taken[1], measured[1])
        print(f"round {number + 1}: {found}, ratio {found.ratio:.2f}", file=sys.stderr)
        yield found


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds that ``work`` takes by the clock, and of processors."""
    start, before = time.perf_counter(), processors()
    work()
    return time.perf_counter() - start, processors() - before


def decode_all(photos: Sequence[Path]) -> None:
    """Only decode, with Pillow."""
    for path in photos:
        with Image.open(path) as image:
            image.load()


def take_all(bank: Bank, folder: Path, count: int) -> None:
    """Take all photos in."""
    report = intake(bank, folder, requested_by="bench")
    assert report.counts["accepted"] == count, report.quarantined[:3]


def measure_all(bank: Bank) -> None:
    """The measures of every photo, as validation asks for them: most of their cost lies in intake."""
    for item in load_photos(bank, "bolt"):
        found = load_measures(bank.store, item, lambda item=item: working_image(bank, item))  # type: ignore[misc]
        assert found["min_side_px"] == HEIGHT


def scale(count: int) -> Scale:
    """Take in ``count`` small photos twice, in this process. Banks lie in memory where that can be, for a disk is not what is measured."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        made = [sys.executable, __file__, "--scale", str(count), "--fill", f"{folder}/photos/bolt"]
        subprocess.run(made, check=True)  # not in here, where it would take memory
        bank, start, decoders = make_bank(Path(folder) / "bank"), time.perf_counter(), Decoders()
        report = intake(bank, Path(folder) / "photos", requested_by="bench", progress=decoders.look)
        taken = time.perf_counter() - start
        assert report.counts["accepted"] == count, report.counts
        peak = peak_mib()
        opened, start = count_opened(), time.perf_counter()
        again = intake(make_bank(Path(folder) / "bank"), Path(folder) / "photos", requested_by="bench")
        assert again.counts["known"] == count
        seconds = time.perf_counter() - start
        return Scale(count, taken, peak, decoders.peak_mib, seconds, len(opened), peak_mib())


@dataclass
class Decoders:
    """The memory of the decoders, looked at now and then."""

    every: int = 50
    seen: int = 0
    peak_mib: float = 0.0

    def look(self, outcome: Outcome) -> None:
        """One more photo was taken in."""
        if self.seen % self.every == 0:
            found = [child.memory_info().rss / 2**20 for child in psutil.Process().children()]
            self.peak_mib = max([self.peak_mib, *found])
        self.seen += 1


def in_process_of_its_own(count: int) -> Scale:
    """:func:`scale` in a fresh interpreter, whose peak is its own."""
    command = [sys.executable, __file__, "--scale", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = Scale(**json.loads(done.stdout))
    print(found, file=sys.stderr)
    return found


def count_opened() -> list[str]:
    """The photos that are opened from now on; the rights table, which is always read, is none."""
    opened: list[str] = []
    read = sources.FolderSource.read

    def noted(source: sources.FolderSource, key: str, limit: int) -> bytes:
        if not key.endswith(".csv"):
            opened.append(key)
        return read(source, key, limit)

    sources.FolderSource.read = noted  # type: ignore[method-assign]
    return opened


def fill(folder: Path, photos: Iterator[bytes]) -> list[Path]:
    """Write photos and one table of their rights; the paths of the photos."""
    folder.mkdir(parents=True)
    names = []
    for number, data in enumerate(photos):
        names.append(f"{number:06d}.jpg")
        (folder / names[-1]).write_bytes(data)
    (folder / "rights.csv").write_text("\n".join([HEAD, *map(ROW.format, names)]))
    return [folder / name for name in names]


def megapixel(count: int) -> Iterator[bytes]:
    """Photos of one megapixel: a detailed picture with sensor noise. There are :data:`DISTINCT`, told apart by a comment."""
    from skimage.data import astronaut, chelsea, coffee

    rng, made = np.random.default_rng(0), []
    for number in range(DISTINCT):
        scene = Image.fromarray((coffee(), chelsea(), astronaut()[240:])[number % 3])
        scene = scene.rotate(number % 4, resample=Image.Resampling.BICUBIC).resize(
            (WIDTH, HEIGHT), Image.Resampling.LANCZOS
        )
        grainy = np.asarray(scene, dtype=np.float32) + rng.normal(0, GRAIN, (HEIGHT, WIDTH, 1)).astype(np.float32)
        made.append(jpeg(Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8)), QUALITY))
    return (distinct(made[number % DISTINCT], number) for number in range(count))


def small(count: int) -> Iterator[bytes]:
    """Photos of 48 by 32 pixels."""
    x, y = np.meshgrid(np.linspace(0, 255, 48), np.linspace(0, 255, 32))
    data = jpeg(Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8)), 80)
    return (distinct(data, number) for number in range(count))


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The picture as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def distinct(data: bytes, number: int) -> bytes:
    """The same JPEG with a comment behind its first marker."""
    return data[:2] + b"\xff\xfe\x00\x0a" + f"{number:08d}".encode() + data[2:]


def make_bank(folder: Path) -> Bank:
    """A bank with one concept, new or opened again."""
    (folder / "concepts").mkdir(parents=True, exist_ok=True)
    values = {"name": "bolt", "prompt": "a photo of a bolt", "owner": "bench"}
    (folder / "concepts" / "bolt.yaml").write_text(yaml.safe_dump(values))
    env = {"SEEDBANK_HOME": str(folder), "SEEDBANK_CONCEPTS": str(folder / "concepts"), "SEEDBANK_ACTOR": "cli:bench"}
    return Bank.open(Settings.from_env(env))


def processors() -> float:
    """Seconds of processor time of this process and the children that ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(rounds: Sequence[Round], scales: Sequence[Scale], photos: int) -> None:
    """The results as JSON and as a page. A part that was left out keeps what an earlier run found."""
    path = RESULTS / "intake_cost.json"
    facts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rounds": [], "scales": [], "photos": 0}
    facts |= {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "pillow": PIL.__version__}
    if rounds:
        size = round(statistics.mean(map(len, megapixel(DISTINCT))))
        facts |= {"photos": photos, "pixels": [WIDTH, HEIGHT], "jpeg_bytes": size, "limit": LIMIT}
        facts |= {"rounds": [asdict(item) for item in rounds], "load": round(os.getloadavg()[0], 1)}
        facts["ratio"] = round(statistics.median(item.ratio for item in rounds), 2)
        facts["ratio_of_processors"] = round(statistics.median(item.ratio_of_processors for item in rounds), 2)
    if scales:
        facts["scales"] = [asdict(item) for item in scales]
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts, indent=2) + "\n")
    text = page(facts, [Round(**item) for item in facts["rounds"]], [Scale(**item) for item in facts["scales"]])
    (RESULTS / "intake_cost.md").write_text(text)
    print(text)


def page(facts: dict[str, Any], rounds: Sequence[Round], scales: Sequence[Scale]) -> str:
    """The results for people."""

    def ms(seconds: float) -> str:
        return f"{1000 * seconds / facts['photos']:.1f}"

    lines = [
        "# What taking photos in costs",
        "",
        f"By `benchmarks/intake_cost.py`, {facts['cores']} cores, Python {facts['python']}, Pillow {facts['pillow']}.",
    ]
    if rounds:
        lines += [
            "",
            f"## Time: {facts['ratio']} times decoding alone (at most {facts['limit']:g})",
            "",
            f"{facts['photos']} JPEGs of {WIDTH} x {HEIGHT} pixels, {facts['jpeg_bytes']:,} bytes on average; milliseconds a photo, by the "
            "clock and of processors. The ratio is (intake + measures) / Pillow alone, its median above. Intake includes starting its "
            f"decoders. Load average at the end: {facts['load']}; on two idle cores the same work would give "
            f"{facts['ratio_of_processors']} (processor seconds of intake / 2 + measures, over Pillow's).",
            "",
            "| round | Pillow alone | intake | measures | ratio | processors: Pillow | intake | measures |",
            "|---|---|---|---|---|---|---|---|",
            *(
                f"| {number} | {ms(item.pillow)} | {ms(item.intake)} | {ms(item.measures)} | {item.ratio:.2f} | "
                f"{ms(item.pillow_processors)} | {ms(item.intake_processors)} | {ms(item.measures_processors)} |"
                for number, item in enumerate(rounds, start=1)
            ),
        ]
    lines += [
        "",
        "## Memory and a second scan",
        "",
        "Photos of 48 x 32 pixels, a bank in memory. Peak resident memory of the process, and of the largest decoder.",
        "",
        "| photos | seconds | peak MiB | decoder MiB | second scan: photos opened | seconds | peak MiB |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {item.photos:,} | {item.seconds:.1f} | {item.peak_mib:.0f} | {item.decoder_peak_mib:.0f} | {item.again_opened} | "
            f"{item.again_seconds:.2f} | {item.again_peak_mib:.0f} |"
            for item in scales
        ),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
