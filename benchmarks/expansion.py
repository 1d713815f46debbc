"""Many images from one find: what fifty accepted, pairwise distinct images of a rare kind cost, and how many of them are right.

For each kind a trial of the preset ``balanced`` comes first, as the product runs it. Then its best accepted seed is expanded alone
(``one find``), and all its accepted seeds together (``all finds``). The auditor, which has no say in it, judges. Writes
``results/expansion.json``, ``.md`` and a sheet of the first kind's images, ``expansion.png``, beside this file.

    python benchmarks/expansion.py                      # about five minutes on two cores
    python benchmarks/expansion.py hook --count 20
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from seedbank.evaluation.machine import machine
from seedbank.evaluation.problems import shipped_problem
from seedbank.models import Auditor, load_auditor
from seedbank.selection import BALANCED
from seedbank.selection.expansion.expand import expand
from seedbank.selection.expansion.results import ExpansionResult
from seedbank.selection.sampling.sampler import to_pixels
from seedbank.selection.search.draw import draw
from seedbank.selection.search.explore import explore
from seedbank.selection.search.optimise import optimise
from seedbank.selection.search.seed_search import SeedSearch
from seedbank.settings import share_cores
from seedbank.trials.audit import audit, label_of
from seedbank.trials.code import code_version

RESULTS = Path(__file__).parent / "results"
KINDS = ("hook", "crank", "cross", "clover")
STARTS, ACROSS = 8, 10


@dataclass(frozen=True)
class BenchmarkRow:
    """One expansion."""

    concept: str
    finds: int
    images: int
    right: int
    """By the auditor."""
    each: float
    """Plain samples of cost for one accepted image, probes and rejected tries included."""
    rate: float
    """Share of all seeds tried that are accepted."""
    cosine: float
    vendi: float
    least: float
    asked: float
    """Least distance between two images, and what was asked for."""
    seconds: float


def measure(kind: str, count: int, auditor: Auditor) -> tuple[list[BenchmarkRow], ExpansionResult]:
    """Search, then expand the best find and all of them."""
    problem = shipped_problem(kind)
    photos = [Image.fromarray(pixels) for pixels in to_pixels(problem.references)]
    recipe = BALANCED.sized(STARTS)
    search = SeedSearch(
        sampler=problem.sampler,
        references=photos,
        encoder=problem.encoder,
        guard_encoder=problem.embed,
        recipe=recipe,
        root=f"expansion/{kind}",
    )
    found = explore(search)
    selection = draw(search, found, optimise(search, found, starts=STARTS), plain=0)
    finds = sorted(
        (find.image for find in selection.finds if find.image.accepted), key=lambda image: image.scores.objective
    )
    if not finds:
        raise SystemExit(f"nothing of {kind} was accepted; there is nothing to expand")
    rows, expansions = [], []
    for seeds in ([finds[0].seed], [image.seed for image in finds]):
        made = expand(problem.sampler, found.acceptance, seeds, count, root=kind)
        expansions.append(made)
        rows.append(_row(kind, len(seeds), made, auditor))
    return rows, expansions[0]


def _row(kind: str, finds: int, made: ExpansionResult, auditor: Auditor) -> BenchmarkRow:
    images = [image.pixels for image in made.images]
    label = label_of(auditor, kind)
    right = int(audit(auditor, images, label).sum()) if label is not None else 0
    return BenchmarkRow(
        kind, finds, len(images), right, made.plain_samples_each, made.acceptance_rate, made.cosine, made.vendi,
        made.distances.least, made.min_distance, made.seconds,
    )  # fmt: skip


def write(rows: Sequence[BenchmarkRow], count: int) -> None:
    """Table and numbers."""
    about = {"machine": machine(), "code": code_version(), "wanted": count}
    (RESULTS / "expansion.json").write_text(
        json.dumps({"about": about, "rows": [asdict(row) for row in rows]}, indent=2) + "\n"
    )
    head = f"{count} images wanted of each; {about['machine']}, {about['code']}.\n"
    lines = [
        head,
        "| concept | finds | images | right | plain samples each | accepted of tried | Vendi score | least distance (asked) | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.concept} | {row.finds} | {row.images} | {row.right} | {row.each:.1f} | {row.rate:.0%} | {row.vendi:.1f} "
        f"| {row.least:.3f} ({row.asked:.3f}) | {row.seconds:.0f} |"
        for row in rows
    ]
    (RESULTS / "expansion.md").write_text("\n".join(lines) + "\n")


def sheet(made: ExpansionResult, path: Path) -> None:
    """All images, ten in a row."""
    tiles = [image.pixels for image in made.images]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % ACROSS)
    rows = [np.concatenate(tiles[at : at + ACROSS], 1) for at in range(0, len(tiles), ACROSS)]
    Image.fromarray(np.concatenate(rows)).save(path)


def main() -> None:
    """Measure, writing after each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--count", type=int, default=50)
    options = parser.parse_args()
    share_cores()
    auditor, rows = load_auditor(), []
    for kind in options.kinds:
        found, made = measure(kind, options.count, auditor)
        rows += found
        for row in found:
            print(row, flush=True)
        write(rows, options.count)
        if kind == options.kinds[0]:
            sheet(made, RESULTS / "expansion.png")


if __name__ == "__main__":
    main()
