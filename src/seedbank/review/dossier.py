"""Dossiers: what reviewers see, frozen before review. A decision is bound to a dossier's digest."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from seedbank.bank import Bank
from seedbank.errors import RefusedError, UsageError, VerificationError
from seedbank.evaluation.sheets import to_png
from seedbank.records import Record, sha256
from seedbank.references.reference import Reference
from seedbank.references.validation import load_reference_set
from seedbank.review.flags import find_flags
from seedbank.review.sheet import draw_sheet
from seedbank.search import load_trial
from seedbank.trials import Candidate, Pool, Trial, trial_folder

if TYPE_CHECKING:
    from PIL.Image import Image


class Dossier(Record):
    """References, plain-seed images and accepted candidates side by side, with scores and flags.

    Its pictures lie in the store: references under ``working/<photo>.png``, all others under ``<trial folder>/images/<image>.png``, and
    the contact sheet under ``dossiers/<digest>/sheet.png``. ``dossiers/<digest>.json`` holds the dossier itself.
    """

    concept: str
    prompt: str
    trial: str
    """The trial's key."""
    trial_digest: str
    reference_set: str
    requested_by: tuple[str, ...]
    references: tuple[Reference, ...]
    plain: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]
    pool: Pool
    flags: tuple[str, ...]
    """What a reviewer should know: few references, a guard that is not sure, rights about to expire."""

    @property
    def folder(self) -> str:
        """Key prefix of its trial, where the pictures and seeds are."""
        return trial_folder(self.concept, self.trial)

    @property
    def sheet(self) -> str:
        """Key of the contact sheet."""
        return f"dossiers/{self.digest}/sheet.png"


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


def load_dossier(bank: Bank, digest: str) -> Dossier:
    """The frozen dossier with this digest.

    Raises:
        UsageError: there is none.
        VerificationError: its bytes do not have this digest.
    """
    try:
        data = bank.store.get(f"dossiers/{digest}.json")
    except KeyError:
        raise UsageError(
            f"no dossier {digest} in {bank.store.url}; `seedbank status` says where each concept stands"
        ) from None
    if sha256(data) != digest:
        raise VerificationError(
            f"expected dossier {digest}, got {sha256(data)}; the object was changed in {bank.store.url}"
        )
    return Dossier.from_bytes(data)


def latest_dossier(bank: Bank, concept: str) -> Dossier:
    """The dossier of ``concept`` that was frozen last; raises :class:`~seedbank.errors.UsageError` if there is none."""
    *_, newest = [None, *bank.ledger.entries(concept=concept, event="dossier.frozen")]
    if newest is None:
        raise UsageError(f"no dossier of {concept!r} is frozen yet; `seedbank status` says where it stands")
    return load_dossier(bank, str(newest.data["key"]))


def trial_of(bank: Bank, dossier: Dossier) -> Trial:
    """The trial behind ``dossier``; raises :class:`~seedbank.errors.VerificationError` if it is not the one that was frozen."""
    trial = load_trial(bank, dossier.concept, dossier.trial)
    if trial.digest != dossier.trial_digest:
        raise VerificationError(
            f"expected trial {dossier.trial_digest}, got {trial.digest}; it was changed after the freeze"
        )
    return trial


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
    """The verdicts of a trial that failed, each once."""
    verdicts = dict.fromkeys(candidate.verdict for candidate in trial.candidates)
    return "; ".join(verdicts) or "it has no candidates at all; optimise again with more starts"
