"""``seedbank expand``: many images from one find or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from seedbank.cli.output import JsonFlag, console, needs, open_bank, print_json, table
from seedbank.cli.search import bars
from seedbank.errors import RefusedError

if TYPE_CHECKING:
    from seedbank.trials.records import ExpansionRecord


@needs("selection")
def expand(
    seeds: Annotated[
        list[str],
        typer.Argument(
            metavar="SEED...", help="Digests of seeds of accepted candidates of one trial, or their first digits."
        ),
    ],
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many images are wanted.")] = 50,
    json: JsonFlag = False,
) -> None:
    """Make many accepted, pairwise distinct images from the SEED of an accepted candidate, or from several.

    Seeds around it, as far away as they are still accepted as the trial accepted, and mixes of those. Asked again, it shows what it found.

    One seed may give few images that differ enough; all accepted seeds of a trial together give more of them, and more different ones.

    Example: seedbank expand 3f9a1c04be77 -n 50
    """
    from seedbank.trials.expand import expand_seeds

    bank = open_bank()
    with bars() as report:
        record = expand_seeds(bank, seeds, count, progress=report)
    if json:
        print_json(record.model_dump(mode="json"))
    else:
        _print(record, bank.store.url)
    if len(record.images) < count:
        raise RefusedError(
            f"{len(record.images)} of {count} images of {record.concept!r} were accepted before the budget was spent; "
            "ask for fewer, or expand more of the trial's accepted seeds together"
        )


def _named(finds: tuple[str, ...]) -> str:
    return f"seed {finds[0][:12]}" if len(finds) == 1 else f"{len(finds)} seeds"


def _print(record: ExpansionRecord, store: str) -> None:
    rows = [
        (kind, tally.drawn, tally.accepted, tally.alike, tally.undone)
        for kind, tally in record.tried.items()
        if tally.drawn
    ]
    out = console()
    title = f"{record.concept}: {len(record.images)} images from {_named(record.finds)}"
    out.print(table(title, ("kind of seed", "drawn", "accepted", "too alike", "not when drawn alone"), rows))
    least, mean, _ = record.distances
    out.print(
        f"neighbours at cosine {record.cosine:g}; {record.acceptance:.0%} of seeds accepted; worth {record.vendi:.1f} different images "
        f"(Vendi score); distance between two: mean {mean:.3f}, least {least:.3f} (asked {record.apart:.3f}); "
        f"{record.plain_samples_each:.1f} plain samples an image"
    )
    out.print(f"in {store} under {record.folder}/images")
