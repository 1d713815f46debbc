"""Decisions: who said what about which dossier, and why. Signed, kept once, and on the ledger.

A seat answers once: its envelope lies under ``decisions/<dossier>/<seat>.json``, written with a new-only write, and its digest is on the
ledger. :func:`approved` trusts neither alone: it wants the signature, the ledger's word and the chain of the ledger to agree. It fails
closed: whatever is missing, unreadable or odd means no.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Literal

from seedbank.bank import Bank
from seedbank.errors import NotApproved, RefusedError, UsageError
from seedbank.evidence.signing import ensure_key
from seedbank.records import sha256
from seedbank.references.clearance import cleared
from seedbank.review.records import Decision, Dossier, _key, decision_of, envelope_of, load_dossier
from seedbank.review.roster import SEATS, Reviewer, Roster, load_roster

MIN_REASON = 5
"""Characters; the shortest reason that can say something."""


def record_decision(
    bank: Bank,
    *,
    dossier: str,
    seat: int,
    reviewer: Reviewer,
    verdict: Literal["publish", "reject"],
    reason: str,
    scripted: bool,
    via: str,
    today: date | None = None,
) -> Decision:
    """Sign and keep an answer. The same answer given again (a task that is retried) returns the one on record.

    Nobody can say "publish" while the rights of a reference do not hold; ``today`` is the day on which they must, None for today (UTC).

    Raises:
        UnusableReferences: they do not; the message says whom to ask.
        UsageError: no such seat or dossier, or the reason is too short to say anything.
        NotApproved: this person may not answer, or the seat has another answer already.
    """
    frozen = load_dossier(bank, dossier)
    if not 1 <= seat <= SEATS or len(reason.strip()) < MIN_REASON:
        raise UsageError(
            f"expected a seat from 1 to {SEATS} and a reason of at least {MIN_REASON} characters, got {seat} and {reason!r}"
        )
    decision = Decision(
        dossier=dossier,
        concept=frozen.concept,
        seat=seat,
        reviewer=reviewer.id,
        name=reviewer.name,
        verdict=verdict,
        reason=reason.strip(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        scripted=scripted,
        via=via,
    )
    others = [found for other in range(1, SEATS + 1) if other != seat and (found := decision_of(bank, dossier, other))]
    check_person(decision, frozen.requested_by, load_roster(bank.settings.roster))
    check_different([decision, *others])
    if verdict == "publish" and decision_of(bank, dossier, seat) is None:
        cleared(bank, frozen.concept, frozen.references, today=today)
    envelope = ensure_key(bank.settings.keys, "review").seal(decision.statement())
    if not bank.store.put_new(_key(dossier, seat), envelope):
        decision = _same_answer(decision, decision_of(bank, dossier, seat))
    settle(bank, decision)
    return decision


def settle(bank: Bank, decision: Decision) -> None:
    """Put a decision that is signed and stored on the ledger, if it is not there: whoever recorded it may have been killed in between."""
    bank.record_once(
        "decision.recorded",
        concept=decision.concept,
        key=_entry_key(decision),
        dossier=decision.dossier,
        seat=decision.seat,
        reviewer=decision.reviewer,
        verdict=decision.verdict,
        reason=decision.reason,
        scripted=decision.scripted,
        via=decision.via,
        envelope=sha256(envelope_of(bank, decision)),
    )


def approved(bank: Bank, dossier: str) -> tuple[Decision, ...]:
    """The decisions that allow publishing ``dossier``, in the order of their seats.

    Raises:
        NotApproved: anything but two different people of the roster, neither of whom asked for it, saying "publish" with a reason, signed
            and on the ledger; the message says what.
    """
    try:
        frozen = load_dossier(bank, dossier)
        bank.ledger.verify()
        _check_frozen(bank, frozen)
        decisions = tuple(_on_record(bank, frozen, seat) for seat in range(1, SEATS + 1))
        check_approval(decisions, frozen.requested_by, load_roster(bank.settings.roster))
    except NotApproved:
        raise
    except (RefusedError, UsageError) as error:
        raise NotApproved(f"dossier {dossier[:12]} is not approved: {error}") from error
    return decisions


def check_approval(decisions: Collection[Decision], requested_by: Collection[str], roster: Roster | None) -> None:
    """Check that these decisions together are an approval; without a ``roster`` (an auditor has none) only what they say themselves.

    Raises:
        NotApproved: they are not.
    """
    for decision in decisions:
        check_person(decision, requested_by, roster)
        if decision.verdict != "publish":
            raise NotApproved(
                f"{decision.name} (seat {decision.seat}) rejected dossier {decision.dossier[:12]}: {decision.reason}"
            )
        if len(decision.reason.strip()) < MIN_REASON:
            raise NotApproved(
                f"expected a reason of at least {MIN_REASON} characters from {decision.name}, got {decision.reason!r}"
            )
    check_different(decisions)
    if sorted(decision.seat for decision in decisions) != list(range(1, SEATS + 1)):
        raise NotApproved(
            f"expected an answer of each of {SEATS} seats, got {sorted(decision.seat for decision in decisions)}"
        )


def check_person(decision: Decision, requested_by: Collection[str], roster: Roster | None) -> None:
    """Raise :class:`~seedbank.errors.NotApproved` if this person may not answer at all."""
    if {decision.reviewer, decision.name} & set(requested_by):
        raise NotApproved(
            f"{decision.reviewer} asked for {decision.concept} and so cannot review it; somebody else must"
        )
    if roster is not None and decision.reviewer not in roster.reviewers:
        raise NotApproved(f"{decision.reviewer} is not on the roster; {', '.join(sorted(roster.reviewers))} may review")


def check_different(decisions: Collection[Decision]) -> None:
    """Raise :class:`~seedbank.errors.NotApproved` if one person sits on two seats."""
    people = [decision.reviewer for decision in decisions]
    if len(set(people)) != len(people):
        raise NotApproved(
            f"expected {SEATS} different people, got {' and '.join(people)}; another reviewer must answer"
        )


def _on_record(bank: Bank, dossier: Dossier, seat: int) -> Decision:
    decision = decision_of(bank, dossier.digest, seat)
    if decision is None:
        raise NotApproved(f"seat {seat} has not answered on dossier {dossier.digest[:12]}; review it in Airflow")
    sealed = sha256(bank.store.get(_key(dossier.digest, seat)))
    for entry in bank.ledger.entries(concept=dossier.concept, event="decision.recorded"):
        if entry.data.get("envelope") == sealed and entry.data.get("key") == _entry_key(decision):
            return decision
    raise NotApproved(
        f"the decision of seat {seat} on dossier {dossier.digest[:12]} is not on the ledger; it did not come through the review"
    )


def _check_frozen(bank: Bank, dossier: Dossier) -> None:
    frozen = bank.ledger.entries(concept=dossier.concept, event="dossier.frozen")
    if not any(entry.data.get("key") == dossier.digest for entry in frozen):
        raise NotApproved(f"dossier {dossier.digest[:12]} was never frozen on the ledger; it did not come from a trial")


def _same_answer(given: Decision, recorded: Decision | None) -> Decision:
    """The recorded answer if ``given`` says the same."""
    if recorded is None or recorded.model_copy(update={"time": given.time}) != given:
        said = f"{recorded.reviewer}: {recorded.verdict}" if recorded else "something unreadable"
        raise NotApproved(
            f"seat {given.seat} has answered on dossier {given.dossier[:12]} already ({said}); an answer stands"
        )
    return recorded


def _entry_key(decision: Decision) -> str:
    return f"{decision.dossier}/{decision.seat}"
