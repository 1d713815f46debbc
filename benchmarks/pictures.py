"""The figure of `docs/method.md`: what references, plain seeds, a seed on its way and the finds of a search look like.

python benchmarks/pictures.py                       # about a minute on two cores; writes docs/images/method.png
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from seedbank.evaluation.problems import shipped_problem
from seedbank.models import load_auditor
from seedbank.selection import BALANCED, Event
from seedbank.selection.sampling.sampler import to_pixels
from seedbank.selection.search.draw import draw
from seedbank.selection.search.explore import explore
from seedbank.selection.search.optimise import optimise
from seedbank.selection.search.seed_search import SeedSearch
from seedbank.selection.seeds import Seed
from seedbank.settings import share_cores
from seedbank.trials.audit import audit, label_of
from seedbank.trials.contact_sheet import SheetRow, Tile, contact_sheet

OUT = Path(__file__).parents[1] / "docs" / "images" / "method.png"
KINDS = ("clover", "starknob")
STARTS, SHOWN = 8, 8


def rows(kind: str) -> list[SheetRow]:
    """One search, in four rows."""
    problem, auditor = shipped_problem(kind), load_auditor()
    photos = [Image.fromarray(pixels) for pixels in to_pixels(problem.references)]
    seen: dict[Seed, list[tuple[int, Image.Image]]] = {}

    def watch(event: Event) -> None:
        for seed, pixels in event.images.items():
            seen.setdefault(seed, []).append((event.iteration, Image.fromarray(pixels)))

    search = SeedSearch(
        sampler=problem.sampler,
        references=photos,
        encoder=problem.encoder,
        guard_encoder=problem.embed,
        recipe=BALANCED.sized(STARTS),
        root="pictures",
    )
    exploration = explore(search, observe=watch)
    optimised = optimise(search, exploration, starts=STARTS, observe=watch)
    selection = draw(search, exploration, optimised, plain=SHOWN, observe=watch)
    label = label_of(auditor, kind)
    images = [find.image for find in selection.finds]
    right = audit(auditor, [image.pixels for image in images], label if label is not None else -1)
    longest = max(selection.finds, key=lambda find: (find.image.accepted, len(find.trajectory)))
    steps = seen[longest.start][:: max(1, len(longest.trajectory) // SHOWN)][:SHOWN]
    taken = int(selection.pool.guard.ge(selection.threshold).sum())
    share = f"by nearness alone the guard would take {taken} of {len(selection.pool)}"
    return [
        SheetRow(f"{kind}: references", [Tile(photo.resize((192, 192), Image.Resampling.BICUBIC)) for photo in photos]),
        SheetRow(
            "Plain seeds",
            [Tile(Image.fromarray(plain.pixels), good=plain.accepted) for plain in selection.plain],
            share,
        ),
        SheetRow(
            "One seed on its way",
            [
                Tile(image, (f"iterate {k}", f"loss {at.objective:.2f}, cosine {at.cosine_to_start:.2f}"))
                for k, image in steps
                for at in longest.trajectory[k : k + 1]
            ],
            longest.stopped_by,
        ),
        SheetRow(
            "What the search ends with",
            [
                Tile(
                    Image.fromarray(image.pixels),
                    (f"guard {image.scores.guard:.2f}", f"auditor: {'right' if good else 'wrong'}"),
                    good=image.accepted,
                )
                for image, good in zip(images, right, strict=True)
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
