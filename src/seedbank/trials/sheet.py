"""The contact sheet of a trial: reference photos, plain seeds, and each candidate under the picture its start made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from PIL import Image

from seedbank.bank import Bank
from seedbank.references.photos import working_image
from seedbank.references.records import Reference
from seedbank.trials.contact_sheet import COLUMNS, SheetRow, Tile, contact_sheet
from seedbank.trials.images import decode, open_image
from seedbank.trials.records import Candidate, Trial


@dataclass(frozen=True)
class TrialImages:
    """What there is to look at of a trial, each picture read once.

    Attributes:
        photos: the reference photos, in their order.
        images: of plain seeds and candidates, by digest.
        starts: what the starts of the candidates drew, by the start's digest; those that the trial did not keep are missing.
    """

    photos: tuple[tuple[Reference, Image.Image], ...]
    images: Mapping[str, Image.Image]
    starts: Mapping[str, Image.Image]

    @classmethod
    def read(cls, bank: Bank, trial: Trial, references: Sequence[Reference], candidates: Sequence[Candidate]) -> Self:
        """Read them from the store and check each; raises :class:`~seedbank.errors.VerificationError` if one is not the trial's."""
        # A set: a candidate may be one of the plain images, and each is read once.
        images = {item.image: open_image(bank, trial.folder, item) for item in {*trial.plain, *candidates}}
        starts = {item.seed: images[item.image] for item in trial.plain}
        for start in {item.start for item in candidates} - starts.keys():
            try:
                starts[start] = decode(bank.store.get(f"{trial.folder}/steps/{start}/0.png"))
            except KeyError:
                continue
        return cls(tuple((item, working_image(bank, item)) for item in references), images, starts)


def draw_sheet(
    trial: Trial, images: TrialImages, candidates: Sequence[Candidate], *, notes: Sequence[str] = ()
) -> Image.Image:
    """Draw the sheet of ``trial`` with the ``candidates`` to show; ``notes`` are printed at the top."""
    rows = [_reference_row(images), _plain_row(trial, images)]
    for first in range(0, len(candidates), COLUMNS):
        rows += _candidate_rows(images, candidates[first : first + COLUMNS], first)
    model = f"{trial.model.name} {trial.model.content[:12]}"
    subtitle = f"“{trial.prompt}”   model {model}   trial {trial.key[:12]}   recipe {trial.recipe.name}"
    return contact_sheet(trial.concept, rows, subtitle=subtitle, notes=notes)


def _reference_row(images: TrialImages) -> SheetRow:
    tiles = [Tile(image, (item.name, item.rights.licence)) for item, image in images.photos]
    return SheetRow("Reference photos", tiles, "what the concept looks like")


def _plain_row(trial: Trial, images: TrialImages) -> SheetRow:
    tiles = [Tile(images.images[item.image], _scores(item)) for item in trial.plain]
    return SheetRow("Plain seeds", tiles, "what the model draws without help")


def _candidate_rows(images: TrialImages, candidates: Sequence[Candidate], first: int) -> list[SheetRow]:
    """Starts above, what became of them below, in the same columns."""
    starts = [images.starts.get(item.start) for item in candidates]
    after = [
        Tile(images.images[item.image], (f"seed {item.seed[:12]}", *_scores(item)), good=item.accepted)
        for item in candidates
    ]
    made = (
        SheetRow("Optimised", after, "after: the candidates") if not first else SheetRow("Optimised, continued", after)
    )
    # With a gap the columns of the two rows would no longer match.
    if any(start is None for start in starts):
        return [made]
    before = [
        Tile(start, (f"start {item.start[:12]}",))
        for start, item in zip(starts, candidates, strict=True)
        if start is not None
    ]
    return [SheetRow("Their starts", before, "before: the same seeds as drawn"), made]


def _scores(candidate: Candidate) -> tuple[str, ...]:
    scores = candidate.scores
    return (f"guard {scores.guard:.3f}", f"semantic {scores.semantic:.3f}", f"appearance {scores.appearance:.3f}")
