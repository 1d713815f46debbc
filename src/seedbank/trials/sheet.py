"""The contact sheet of a trial: reference photos, plain seeds, and each candidate under the picture its start made."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from seedbank.bank import Bank
from seedbank.references.photos import working_image
from seedbank.references.records import Reference
from seedbank.trials.contact_sheet import COLUMNS, SheetRow, Tile, contact_sheet
from seedbank.trials.images import decode, open_picture
from seedbank.trials.records import Candidate, Trial


def draw_sheet(
    bank: Bank,
    trial: Trial,
    *,
    references: Sequence[Reference],
    candidates: Sequence[Candidate],
    notes: Sequence[str] = (),
) -> Image.Image:
    """Draw the sheet of ``trial`` with the ``candidates`` to show; ``notes`` are printed at the top."""
    rows = [_reference_row(bank, references), _plain_row(bank, trial)]
    for first in range(0, len(candidates), COLUMNS):
        rows += _turning_rows(bank, trial, candidates[first : first + COLUMNS], first)
    subtitle = f"“{trial.prompt}”   model {trial.model.name} {trial.model.content[:12]}   trial {trial.key[:12]}   recipe {_recipe(trial)}"
    return contact_sheet(trial.concept, rows, subtitle=subtitle, notes=notes)


def _reference_row(bank: Bank, references: Sequence[Reference]) -> SheetRow:
    tiles = [Tile(working_image(bank, item), (item.name, item.rights.licence)) for item in references]
    return SheetRow("Reference photos", tiles, "what the concept looks like")


def _plain_row(bank: Bank, trial: Trial) -> SheetRow:
    tiles = [Tile(open_picture(bank, trial.folder, item), _scores(item)) for item in trial.plain]
    return SheetRow("Plain seeds", tiles, "what the model draws without help")


def _turning_rows(bank: Bank, trial: Trial, candidates: Sequence[Candidate], first: int) -> list[SheetRow]:
    """Starts above, what became of them below, in the same columns."""
    starts = [start_image(bank, trial, item) for item in candidates]
    after = [
        Tile(open_picture(bank, trial.folder, item), (f"seed {item.seed[:12]}", *_scores(item)), good=item.accepted)
        for item in candidates
    ]
    made = (
        SheetRow("Optimised", after, "after: the candidates") if not first else SheetRow("Optimised, continued", after)
    )
    if any(start is None for start in starts):
        return [made]
    before = [
        Tile(start, (f"start {item.start[:12]}",))
        for start, item in zip(starts, candidates, strict=True)
        if start is not None
    ]
    return [SheetRow("Their starts", before, "before: the same seeds as drawn"), made]


def start_image(bank: Bank, trial: Trial, candidate: Candidate) -> Image.Image | None:
    """What the start of a candidate drew, or None where the trial did not keep it."""
    for plain in trial.plain:
        if plain.seed == candidate.start:
            return open_picture(bank, trial.folder, plain)
    try:
        return decode(bank.store.get(f"{trial.folder}/turning/{candidate.start}/0.png"))
    except KeyError:
        return None


def _scores(candidate: Candidate) -> tuple[str, ...]:
    scores = candidate.scores
    return (f"guard {scores.guard:.3f}", f"semantic {scores.semantic:.3f}", f"appearance {scores.appearance:.3f}")


def _recipe(trial: Trial) -> str:
    return str(trial.recipe.get("name", "unnamed"))
