"""How different 16 finds are from each other, beside 16 photos of the same kind: what a Vendi score of 2 is worth.

The guard's embedding is made to tell kinds apart and to overlook how a part lies and how it is lit, so 16 pictures of one kind count as
few, and 16 pictures of several kinds count as many. The photos are fresh renders, seen through the image codec like everything the guard
sees; the finds are those of ``results/selection.json``. Writes ``results/variety.md`` beside this file.

    python benchmarks/variety.py                        # seconds
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean as mean

import torch

from seedbank.cli.bench import RARE
from seedbank.evaluation.bench import EVALUATIONS
from seedbank.evaluation.problems import shipped_problem
from seedbank.evaluation.report import from_json
from seedbank.models.parts.world import generator, render
from seedbank.selection.judging.diversity import effective_number
from seedbank.selection.judging.guard import turned
from seedbank.selection.judging.targets import stack_images, through_codec
from seedbank.settings import share_cores

RESULTS = Path(__file__).parent / "results"
WORLD_SEED, PHOTOS, SIDE, SETS = 14_142, 16, 256, 3
"""Renders of no training, test or example set."""


def of_photos(kind: str) -> float:
    """Vendi score of fresh photos of a kind, mean of some sets."""
    problem = shipped_problem(kind)
    look = turned(problem.embed, 4)
    scores = []
    for number in range(SETS):
        photos = [render(kind, generator(WORLD_SEED, kind, number * PHOTOS + k), SIDE) for k in range(PHOTOS)]
        images = stack_images(photos, problem.config.height, problem.config.width)
        with torch.no_grad():
            embeddings = look(through_codec(images, problem.sampler.family)).double()
        scores.append(effective_number((embeddings @ embeddings.T).numpy()))
    return mean(scores)


def of_methods() -> dict[tuple[str, str], float]:
    """Mean Vendi score by kind and method, as the benchmark of selection recorded it, for runs of as many pictures."""
    rows, _ = from_json((RESULTS / "selection.json").read_text())
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.budget in ("unlimited", EVALUATIONS) and len(row.right) == PHOTOS:
            found[row.concept, row.method].append(row.vendi)
    return {place: mean(scores) for place, scores in found.items()}


def main() -> None:
    """All rare kinds, and their mean."""
    share_cores()
    had = of_methods()
    shown = ("balanced", "best_of_n", "plain")
    table = [[of_photos(kind), *(had[kind, method] for method in shown)] for kind in RARE]
    table.append([mean(column) for column in zip(*table, strict=True)])
    lines = [
        f"Vendi scores of {PHOTOS} pictures under the guard's embedding; photos: mean of {SETS} sets.",
        "",
        "| kind | photos | " + " | ".join(f"`{method}`" for method in shown) + " |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | " + " | ".join(f"{score:.1f}" for score in row) + " |"
            for name, row in zip([*RARE, "mean"], table, strict=True)
        ),
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "variety.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
