"""Dossiers: what reviewers see, frozen before review. A decision is bound to a dossier's digest."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from seedbank.bank import Bank
from seedbank.errors import RefusedError
from seedbank.references.records import load_reference_set
from seedbank.review.flags import find_flags
from seedbank.review.records import Dossier, load_dossier, trial_of
from seedbank.trials.contact_sheet import to_png
from seedbank.trials.records import Trial
from seedbank.trials.sheet import draw_sheet

if TYPE_CHECKING:
    from PIL.Image import Image


def prepare_dossier(bank: Bank, trial: Trial, *, today: date | None = None) -> Dossier:
    """Freeze what reviewers of ``trial`` will see. A trial has one dossier: asking again returns it, whatever the day.

    Args:
        bank: holds the trial; gets the dossier and its contact sheet.
        trial: a finished trial, as the bank has it.
        today: the day from which rights count as about to expire; None for today (UTC).

    Raises:
        RefusedError: the trial has no candidate that the guard accepts.
        VerificationError: a picture is missing or is not the one the trial names.
    """
    for entry in bank.ledger.entries(concept=trial.concept, event="dossier.frozen"):
        if entry.data.get("trial_digest") == trial.digest:
            return load_dossier(bank, str(entry.data["key"]))
    accepted = tuple(candidate for candidate in trial.candidates if candidate.accepted)
    if not accepted:
        raise RefusedError(
            f"no candidate of {trial.concept} was accepted, so there is nothing to review: {_why(trial)}"
        )
    references = load_reference_set(bank, trial.reference_set).references
    dossier = Dossier(
        concept=trial.concept,
        prompt=trial.prompt,
        trial=trial.key,
        trial_digest=trial.digest,
        reference_set=trial.reference_set,
        requested_by=trial.requested_by,
        references=references,
        plain=trial.plain,
        candidates=accepted,
        pool=trial.pool,
        flags=find_flags(bank, trial, accepted, references, today=today or datetime.now(UTC).date()),
    )
    _freeze(bank, dossier)
    return dossier


def _freeze(bank: Bank, dossier: Dossier) -> None:
    """Sheet first, then the dossier, then the ledger: whoever finds the entry finds the rest."""
    bank.store.put(dossier.sheet, to_png(dossier_sheet(bank, dossier)))
    bank.store.put_new(f"dossiers/{dossier.digest}.json", dossier.to_bytes())
    bank.record_once(
        "dossier.frozen",
        concept=dossier.concept,
        key=dossier.digest,
        trial=dossier.trial,
        trial_digest=dossier.trial_digest,
        reference_set=dossier.reference_set,
        candidates=len(dossier.candidates),
    )


def dossier_sheet(bank: Bank, dossier: Dossier) -> Image:
    """References, plain images and candidates of a dossier on one contact sheet."""
    return draw_sheet(
        bank,
        trial_of(bank, dossier),
        references=dossier.references,
        candidates=dossier.candidates,
        notes=dossier.flags,
    )


def _why(trial: Trial) -> str:
    """The explanations of a trial that failed, each once."""
    explanations = dict.fromkeys(candidate.explanation for candidate in trial.candidates)
    return "; ".join(explanations) or "it has no candidates at all; optimise again with more starts"
