"""The pictures of `docs/method.md`: what references, plain seeds, a seed on its way and the finds of a search look like.

python benchmarks/pictures.py                       # about a minute on two cores; writes docs/images/method.png
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from seedbank.evaluation.problems import shipped_problem
from seedbank.models import load_auditor
from seedbank.selection import BALANCED, Event
from seedbank.selection.sampling.sampler import to_pixels
from seedbank.selection.search.select import Search
from seedbank.selection.seeds import Seed
from seedbank.settings import share_cores
from seedbank.trials.audit import audit, label_of
from seedbank.trials.contact_sheet import BenchmarkRow, Tile, contact_sheet

OUT = Path(__file__).parents[1] / "docs" / "images" / "method.png"
KINDS = ("clover", "starknob")
STARTS, SHOWN = 8, 8


def rows(kind: str) -> list[BenchmarkRow]:
    """One search, in four rows."""
    problem, auditor = shipped_problem(kind), load_auditor()
    photos = [Image.fromarray(pixels) for pixels in to_pixels(problem.references)]
    way: dict[Seed, list[tuple[int, Image.Image]]] = {}

    def watch(event: Event) -> None:
        for seed, pixels in (event.images or {}).items():
            way.setdefault(seed, []).append((event.latest, Image.fromarray(pixels)))

    recipe = BALANCED.sized(STARTS)
    search = Search(problem.sampler, photos, problem.encoder, problem.embed, recipe, seed="pictures", observe=watch)
    found = search.explore()
    selection = search.result(found, search.optimise(found, STARTS), plain=SHOWN)
    label = label_of(auditor, kind)
    finds = [find.picture for find in selection.finds]
    right = audit(auditor, [find.pixels for find in finds], label if label is not None else -1)
    longest = max(selection.finds, key=lambda find: (find.picture.accepted, len(find.trace)))
    steps = way[longest.start][:: max(1, len(longest.trace) // SHOWN)][:SHOWN]
    taken = int(selection.explored.guard.ge(selection.threshold).sum())
    share = f"by nearness alone the guard would take {taken} of {len(selection.explored)}"
    return [
        BenchmarkRow(
            f"{kind}: references", [Tile(photo.resize((192, 192), Image.Resampling.BICUBIC)) for photo in photos]
        ),
        BenchmarkRow(
            "Plain seeds",
            [Tile(Image.fromarray(plain.pixels), good=plain.accepted) for plain in selection.plain],
            share,
        ),
        BenchmarkRow(
            "One seed on its way",
            [
                Tile(picture, (f"iterate {k}", f"loss {at.objective:.2f}, cosine {at.cosine_to_start:.2f}"))
                for k, picture in steps
                for at in longest.trace[k : k + 1]
            ],
            longest.stopped_by,
        ),
        BenchmarkRow(
            "What the search ends with",
            [
                Tile(
                    Image.fromarray(find.pixels),
                    (f"guard {find.scores.guard:.2f}", f"auditor: {'right' if good else 'wrong'}"),
                    good=find.accepted,
                )
                for find, good in zip(finds, right, strict=True)
            ],
            "green: accepted by the guard",
        ),
    ]


def main() -> None:
    """Search twice and draw."""
    share_cores()
    sheet = contact_sheet(
        "Two searches", [row for kind in KINDS for row in rows(kind)], subtitle="preset balanced, 8 seeds"
    )
    sheet.convert("RGB").quantize(256).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
