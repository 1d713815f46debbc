"""Decisions: who said what about which dossier, and why. Signed, kept once, and on the ledger.

A seat answers once: its envelope lies under ``decisions/<dossier>/<seat>.json``, written with a new-only write, and its digest is on the
ledger. :func:`approved` trusts neither alone: it wants the signature, the ledger's word and the chain of the ledger to agree. It fails
closed: whatever is missing, unreadable or odd means no.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from seedbank.bank import Bank
from seedbank.errors import NotApproved, RefusedError, UsageError
from seedbank.evidence.ledger import Entry
from seedbank.evidence.requests import asked_as, event_of, requesters
from seedbank.evidence.signing import ensure_key
from seedbank.references.clearance import cleared
from seedbank.review.records import Decision, Dossier, SignedDecision, decision_key, decision_of, signed_decision
from seedbank.review.roster import SEATS, Reviewer, Roster, load_roster

MIN_REASON = 5
"""Characters; the shortest reason that can say something."""


@dataclass(frozen=True)
class Approval:
    """The decisions that allow publishing a dossier."""

    signed: tuple[SignedDecision, ...]
    """One for each seat, in order."""
    last: Entry
    """The ledger's entry of the decision that was recorded last."""
    requested_by: tuple[str, ...]
    """Everyone who had asked for images of the concept by then, sorted."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What was decided."""
        return tuple(signed.decision for signed in self.signed)


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
    login: str = "",
    today: date | None = None,
) -> Decision:
    """Sign and keep an answer. The same answer given again (a task that is retried) returns the one on record.

    Nobody can say "publish" while the rights of a reference do not hold; ``today`` is the day on which they must, None for today (UTC).
    ``login`` is what the auth manager calls the reviewer where that is not the id: they may have asked under that name.

    Raises:
        UnusableReferences: they do not; the message says whom to ask.
        UsageError: no such seat or dossier, or the reason is too short to say anything.
        NotApproved: this person may not answer, or the seat has another answer already.
    """
    frozen = bank.load(Dossier, dossier)
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
        login=login,
        verdict=verdict,
        reason=reason.strip(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        scripted=scripted,
        via=via,
    )
    others = [found for other in range(1, SEATS + 1) if other != seat and (found := decision_of(bank, dossier, other))]
    # By the ledger of this moment: somebody may have asked for images since the form was opened.
    check_person(decision, bank.requesters(frozen.concept), load_roster(bank.settings.roster))
    check_different([decision, *others])
    # Not of an answer on record: it stands, and a retry must be able to put it on the ledger after rights have run out.
    if verdict == "publish" and decision_of(bank, dossier, seat) is None:
        cleared(bank, frozen.concept, frozen.references, today=today)
    signed = SignedDecision(decision, ensure_key(bank.settings.keys, "review").seal(decision.statement()))
    # New-only: a seat answers once. Whoever comes second gets what is kept, if it says the same.
    if not bank.store.put_new(decision_key(dossier, seat), signed.envelope):
        signed = _same_answer(decision, signed_decision(bank, dossier, seat))
    # Envelope first, then the ledger: an entry never names an envelope that is not there.
    settle(bank, signed)
    return signed.decision


def settle(bank: Bank, signed: SignedDecision) -> None:
    """Put a decision that is signed and stored on the ledger, if it is not there: whoever recorded it may have been killed in between."""
    decision = signed.decision
    bank.record_once(
        "decision.recorded",
        concept=decision.concept,
        key=_entry_key(decision),
        dossier=decision.dossier,
        seat=decision.seat,
        reviewer=decision.reviewer,
        login=decision.login,
        verdict=decision.verdict,
        reason=decision.reason,
        scripted=decision.scripted,
        via=decision.via,
        envelope=signed.digest,
    )


def approved(bank: Bank, dossier: Dossier) -> Approval:
    """The decisions that allow publishing ``dossier``. The ledger is read once and its chain checked on the way.

    Raises:
        NotApproved: anything but two different people of the roster, neither of whom ever asked for images of the concept, saying
            "publish" with a reason, signed and on the ledger; the message says what.
    """
    try:
        # The list is complete before it is used: the chain holds only once its last entry was checked.
        entries = [entry for entry in bank.ledger.verified() if entry.concept == dossier.concept]
        _check_frozen(entries, dossier)
        decided = [entry for entry in entries if entry.event == "decision.recorded"]
        found = [_on_record(bank, decided, dossier, seat) for seat in range(1, SEATS + 1)]
        _check_asked(entries, dossier)
        last = max((entry for _, entry in found), key=lambda entry: entry.number)
        approval = Approval(
            tuple(signed for signed, _ in found), last, tuple(sorted(requesters(entries, until=last.number)))
        )
        # Barred is whoever asked up to now. The approval itself names only those up to the last decision, so that a killed
        # publication that is finished later writes the same bytes.
        check_approval(approval.decisions, requesters(entries), load_roster(bank.settings.roster))
    except NotApproved:
        raise
    # Whatever is odd means no. A store that fails says neither yes nor no, and stays an error to try again.
    except (RefusedError, UsageError) as error:
        raise NotApproved(f"dossier {dossier.digest[:12]} is not approved: {error}") from error
    return approval


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
    """Raise :class:`~seedbank.errors.NotApproved` if this person may not answer at all: any name of theirs is among who asked."""
    person = roster.reviewers.get(decision.reviewer) if roster else None
    # Under every name: a request knows a login where a decision knows an id.
    called = {decision.reviewer, decision.name, decision.login} | (person.called if person else frozenset())
    if name := asked_as(called, requested_by):
        also = "" if name == decision.reviewer else f" (as {name})"
        raise NotApproved(
            f"{decision.reviewer} asked for {decision.concept}{also} and so cannot review it; somebody else must"
        )
    if roster is not None and person is None:
        raise NotApproved(f"{decision.reviewer} is not on the roster; {', '.join(sorted(roster.reviewers))} may review")


def check_different(decisions: Collection[Decision]) -> None:
    """Raise :class:`~seedbank.errors.NotApproved` if one person sits on two seats."""
    people = [decision.reviewer for decision in decisions]
    if len(set(people)) != len(people):
        raise NotApproved(
            f"expected {SEATS} different people, got {' and '.join(people)}; another reviewer must answer"
        )


def _on_record(bank: Bank, decided: Sequence[Entry], dossier: Dossier, seat: int) -> tuple[SignedDecision, Entry]:
    """The decision of ``seat`` and the entry that names its envelope."""
    signed = signed_decision(bank, dossier.digest, seat)
    if signed is None:
        raise NotApproved(f"seat {seat} has not answered on dossier {dossier.digest[:12]}; review it in Airflow")
    for entry in decided:
        # The digest ties the entry to these bytes: anyone who can sign could put another envelope in the seat's place.
        if entry.data.get("envelope") == signed.digest and entry.data.get("key") == _entry_key(signed.decision):
            return signed, entry
    raise NotApproved(
        f"the decision of seat {seat} on dossier {dossier.digest[:12]} is not on the ledger; it did not come through the review"
    )


def _check_frozen(entries: Sequence[Entry], dossier: Dossier) -> None:
    if not any(entry.event == "dossier.frozen" and entry.data.get("key") == dossier.digest for entry in entries):
        raise NotApproved(f"dossier {dossier.digest[:12]} was never frozen on the ledger; it did not come from a trial")


def _check_asked(entries: Sequence[Entry], dossier: Dossier) -> None:
    """That somebody asked for the search behind it must be on record, or nobody could be barred."""
    asked = (entry for entry in entries if entry.event == event_of("trial"))
    if not any(entry.data.get("subject") == dossier.reference_set for entry in asked):
        raise NotApproved(
            f"nobody is on record as having asked for the search behind dossier {dossier.digest[:12]}; it did not come from a trial"
        )


def _same_answer(given: Decision, recorded: SignedDecision | None) -> SignedDecision:
    """The recorded answer if ``given`` says the same."""
    # A task that is retried gives the same answer at a later time.
    if recorded is None or recorded.decision.model_copy(update={"time": given.time}) != given:
        said = f"{recorded.decision.reviewer}: {recorded.decision.verdict}" if recorded else "something unreadable"
        raise NotApproved(
            f"seat {given.seat} has answered on dossier {given.dossier[:12]} already ({said}); an answer stands"
        )
    return recorded


def _entry_key(decision: Decision) -> str:
    return f"{decision.dossier}/{decision.seat}"
