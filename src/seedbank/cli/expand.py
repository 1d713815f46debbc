"""``seedbank expand``: many images from one find or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from seedbank.cli.output import JsonFlag, console, needs, open_bank, print_json, table
from seedbank.cli.search import bars
from seedbank.errors import RefusedError

if TYPE_CHECKING:
    from seedbank.trials.records import Expansion


@needs("selection")
def expand(
    seeds: Annotated[
        list[str],
        typer.Argument(
            metavar="SEED...", help="Digests of seeds of accepted candidates of one trial, or their first digits."
        ),
    ],
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many images are wanted.")] = 50,
    model: Annotated[
        str | None, typer.Option(help="Where the model is, if not where the trial or its profile says.")
    ] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="Where the encoder is, likewise; once for each of its networks.")
    ] = None,
    guard: Annotated[list[str] | None, typer.Option(help="Where the guard is, likewise.")] = None,
    json: JsonFlag = False,
) -> None:
    """Make many accepted, pairwise distinct images from the SEED of an accepted candidate, or from several.

    Seeds around it, as far away as they are still accepted as the trial accepted, and mixes of those. Asked again, it shows what it found.

    The trial knows its models by what is in them. Where a local folder lies, its model profile says; where it has moved, name it.

    One seed may give few images that differ enough; all accepted seeds of a trial together give more of them, and more different ones.

    Example: seedbank expand 3f9a1c04be77 -n 50
    """
    from seedbank.trials.expand import Places, expand_seeds

    bank = open_bank()
    with bars() as report:
        record = expand_seeds(
            bank, seeds, count, places=Places(model, tuple(encoder or ()), tuple(guard or ())), progress=report
        )
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


def _print(record: Expansion, store: str) -> None:
    rows = [
        (kind, ended.drawn, ended.accepted, ended.too_alike, ended.rejected_again)
        for kind, ended in record.attempts.items()
        if ended.drawn
    ]
    out = console()
    title = f"{record.concept}: {len(record.images)} images from {_named(record.finds)}"
    out.print(table(title, ("kind of seed", "drawn", "accepted", "too alike", "rejected when drawn again"), rows))
    out.print(
        f"neighbours at cosine {record.cosine:g}; {record.acceptance_rate:.0%} of seeds accepted; worth {record.vendi:.1f} different "
        f"images (Vendi score); distance between two: mean {record.distances.mean:.3f}, least {record.distances.least:.3f} "
        f"(asked {record.min_distance:.3f}); "
        f"{record.plain_samples_each:.1f} plain samples an image"
    )
    out.print(f"in {store} under {record.folder}/images")
