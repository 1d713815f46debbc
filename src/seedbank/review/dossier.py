"""Dossiers: what reviewers see, frozen before review. A decision is bound to a dossier's digest."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime

from seedbank.bank import Bank
from seedbank.errors import RefusedError
from seedbank.references.records import ReferenceSet
from seedbank.review.flags import find_flags
from seedbank.review.records import Dossier
from seedbank.trials.contact_sheet import to_png
from seedbank.trials.records import Trial
from seedbank.trials.sheet import TrialImages, draw_sheet


def frozen_dossier(bank: Bank, trial: Trial) -> Dossier | None:
    """The dossier of ``trial``, or None while none is frozen."""
    for entry in bank.ledger.entries(concept=trial.concept, event="dossier.frozen"):
        if entry.data.get("trial_digest") == trial.digest:
            return bank.load(Dossier, Dossier.announced(entry))
    return None


def prepare_dossier(
    bank: Bank, trial: Trial, *, requested_by: Collection[str] = (), today: date | None = None
) -> Dossier:
    """Freeze what reviewers of ``trial`` will see. A trial has one dossier: asking again returns it, whatever the day.

    Args:
        bank: holds the trial; gets the dossier and its contact sheet.
        trial: a finished trial, as the bank has it.
        requested_by: ids of who asks for it, beside the actor; none of them may review it.
        today: the day from which rights count as about to expire; None for today (UTC).

    Raises:
        RefusedError: the trial has no candidate that the guard accepts.
        VerificationError: a picture is missing or is not the one the trial names.
    """
    # First, also where the dossier is there already: whoever asks is barred either way.
    bank.request("dossier", concept=trial.concept, subject=trial.key, requested_by=requested_by)
    # Flags depend on the day: frozen anew, the same trial could have a second dossier.
    if found := frozen_dossier(bank, trial):
        return found
    accepted = tuple(candidate for candidate in trial.candidates if candidate.accepted)
    if not accepted:
        raise RefusedError(
            f"no candidate of {trial.concept} was accepted, so there is nothing to review: {_why(trial)}"
        )
    references = bank.load(ReferenceSet, trial.reference_set).references
    images = TrialImages.read(bank, trial, references, accepted)
    dossier = Dossier(
        concept=trial.concept,
        prompt=trial.prompt,
        trial=trial.key,
        trial_digest=trial.digest,
        reference_set=trial.reference_set,
        references=references,
        plain=trial.plain,
        candidates=accepted,
        model=trial.model,
        encoder=trial.encoder,
        guard=trial.guard,
        sampler=trial.sampler,
        recipe=trial.recipe,
        pool=trial.pool,
        flags=find_flags(trial, accepted, images, today=today or datetime.now(UTC).date()),
    )
    sheet = draw_sheet(trial, images, accepted, notes=dossier.flags)
    _freeze(bank, dossier, to_png(sheet))
    return dossier


def _freeze(bank: Bank, dossier: Dossier, sheet: bytes) -> None:
    """Sheet first, then the dossier, then the ledger: whoever finds the entry finds the rest."""
    bank.store.put(dossier.sheet, sheet)
    bank.keep(dossier)
    bank.record_once(
        "dossier.frozen",
        concept=dossier.concept,
        key=dossier.digest,
        trial=dossier.trial,
        trial_digest=dossier.trial_digest,
        reference_set=dossier.reference_set,
        candidates=len(dossier.candidates),
    )


def _why(trial: Trial) -> str:
    """The explanations of a trial that failed, each once."""
    explanations = dict.fromkeys(candidate.explanation for candidate in trial.candidates)
    return "; ".join(explanations) or "it has no candidates at all; optimise again with more starts"
