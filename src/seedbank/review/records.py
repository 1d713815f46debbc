"""."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from seedbank.bank import Bank
from seedbank.errors import UsageError, VerificationError
from seedbank.evidence.signing import PublicKey, Statement, open_envelope
from seedbank.records import DIGEST, Record, canonical_json, sha256
from seedbank.references.records import Reference
from seedbank.review.roster import SEATS
from seedbank.selection.records import PoolStatistics
from seedbank.trials.records import Candidate, Trial, load_trial, trial_folder


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
    pool: PoolStatistics
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


PREDICATE = "urn:seedbank:decision:v1"


class Decision(Record):
    """One reviewer's answer about one dossier."""

    dossier: str = Field(pattern=DIGEST)
    concept: str
    seat: int = Field(ge=1, le=SEATS)
    reviewer: str = Field(min_length=1)
    """The reviewer's id."""
    name: str
    verdict: Literal["publish", "reject"]
    reason: str
    time: str
    """UTC, ISO 8601 with seconds."""
    scripted: bool
    """Whether a program answered, as in the demo."""
    via: str
    """Where the answer was given, e.g. ``airflow:release_review/<run id>``."""

    def statement(self) -> Statement:
        """This decision as an in-toto statement about its dossier."""
        return Statement.about({_subject(self.dossier): self.dossier}, PREDICATE, self.model_dump(mode="json"))

    @classmethod
    def from_statement(cls, statement: Statement) -> Decision:
        """Read a decision back; raises :class:`~seedbank.errors.VerificationError` if the statement is not one."""
        decision = cls.from_bytes(canonical_json(statement.predicate))
        if statement.predicate_type != PREDICATE or statement.digests() != {
            _subject(decision.dossier): decision.dossier
        }:
            raise VerificationError(
                f"expected a decision about dossier {decision.dossier}, got a statement about something else"
            )
        return decision


def decision_of(bank: Bank, dossier: str, seat: int) -> Decision | None:
    """The signed decision of ``seat``, or None while it has not answered.

    Raises:
        VerificationError: what lies there was not signed with the review key, or is about something else.
    """
    try:
        envelope = bank.store.get(_key(dossier, seat))
    except KeyError:
        return None
    decision = read_decision(envelope, PublicKey.read(bank.settings.keys / "review.pub"))
    if (decision.dossier, decision.seat) != (dossier, seat):
        raise VerificationError(
            f"expected the decision of seat {seat} on dossier {dossier[:12]}, got that of seat {decision.seat} on "
            f"{decision.dossier[:12]}; it was copied there"
        )
    return decision


def read_decision(envelope: bytes, key: PublicKey) -> Decision:
    """The decision in a signed envelope; raises :class:`~seedbank.errors.VerificationError` if it does not hold."""
    return Decision.from_statement(open_envelope(envelope, key))


def envelope_of(bank: Bank, decision: Decision) -> bytes:
    """The stored envelope of a decision on record."""
    return bank.store.get(_key(decision.dossier, decision.seat))


def _subject(dossier: str) -> str:
    return f"dossiers/{dossier}.json"


def _key(dossier: str, seat: int) -> str:
    return f"decisions/{dossier}/{seat}.json"
