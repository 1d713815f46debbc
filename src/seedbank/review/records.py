"""The records of a review: the dossier that reviewers see, and their signed decisions about it.

A decision is an in-toto statement about a dossier's digest, in an envelope that the review key signed. It lies under
``decisions/<dossier>/<seat>.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from seedbank.bank import Bank, KeptRecord
from seedbank.errors import VerificationError
from seedbank.evidence.signing import PublicKey, Statement, open_envelope
from seedbank.models.card import ModelCard
from seedbank.records import DIGEST, Record, canonical_json, sha256
from seedbank.references.records import Reference
from seedbank.review.roster import SEATS
from seedbank.selection.records import PoolStatistics, SamplerConfig
from seedbank.selection.search.recipes import Recipe
from seedbank.trials.records import Candidate, Trial, trial_folder


class Dossier(KeptRecord):
    """References, plain-seed images and accepted candidates side by side, with scores and flags.

    Its pictures lie in the store: references under ``working/<photo>.png``, all others under ``<trial folder>/images/<image>.png``, and
    the contact sheet under ``dossiers/<digest>/sheet.png``. ``dossiers/<digest>.json`` holds the dossier itself.
    """

    KIND: ClassVar[str] = "dossier"
    PLACE: ClassVar[str] = "dossiers/{address}.json"
    EVENT: ClassVar[str] = "dossier.frozen"
    ADVICE: ClassVar[str] = "`seedbank status` says where it stands"

    prompt: str
    trial: str
    """The trial's key."""
    trial_digest: str
    reference_set: str
    references: tuple[Reference, ...]
    plain: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]
    model: ModelCard
    """What drew the images."""
    encoder: ModelCard
    """Whose gradient the search followed."""
    guard: ModelCard
    """What accepted."""
    sampler: SamplerConfig
    recipe: Recipe
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


def trial_of(bank: Bank, dossier: Dossier) -> Trial:
    """The trial behind ``dossier``; raises :class:`~seedbank.errors.VerificationError` if it is not the one that was frozen."""
    trial = bank.load(Trial, dossier.trial, concept=dossier.concept)
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
    login: str = ""
    """The name under which the auth manager knew this person when they answered: what a request by them says."""
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
        # Subject and predicate both name the dossier, and in-toto's tools look at the subject only.
        if statement.predicate_type != PREDICATE or statement.digests() != {
            _subject(decision.dossier): decision.dossier
        }:
            raise VerificationError(
                f"expected a decision about dossier {decision.dossier}, got a statement about something else"
            )
        return decision


@dataclass(frozen=True)
class SignedDecision:
    """A decision and the envelope that proves it."""

    decision: Decision
    envelope: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the envelope: what the ledger names a decision by."""
        return sha256(self.envelope)


def signed_decision(bank: Bank, dossier: str, seat: int) -> SignedDecision | None:
    """The signed decision of ``seat``, or None while it has not answered.

    Raises:
        VerificationError: what lies there was not signed with the review key, or is about something else.
    """
    try:
        envelope = bank.store.get(decision_key(dossier, seat))
    except KeyError:
        return None
    decision = read_decision(envelope, PublicKey.read(bank.settings.keys / "review.pub"))
    # A signature says nothing about the place: one answer copied to the other seat would count twice.
    if (decision.dossier, decision.seat) != (dossier, seat):
        raise VerificationError(
            f"expected the decision of seat {seat} on dossier {dossier[:12]}, got that of seat {decision.seat} on "
            f"{decision.dossier[:12]}; it was copied there"
        )
    return SignedDecision(decision, envelope)


def decision_of(bank: Bank, dossier: str, seat: int) -> Decision | None:
    """The decision of ``seat`` alone; like :func:`signed_decision`."""
    signed = signed_decision(bank, dossier, seat)
    return signed.decision if signed else None


def read_decision(envelope: bytes, key: PublicKey) -> Decision:
    """The decision in a signed envelope; raises :class:`~seedbank.errors.VerificationError` if it does not hold."""
    return Decision.from_statement(open_envelope(envelope, key))


def decision_key(dossier: str, seat: int) -> str:
    """Where the signed answer of ``seat`` lies in the store."""
    return f"decisions/{dossier}/{seat}.json"


def _subject(dossier: str) -> str:
    return f"dossiers/{dossier}.json"
