"""A case: one dossier before its reviewers. Who may answer for which seat, and what is on record.

Everything here is read from the run's unchangeable facts, the roster, the ledger and the signed decisions; nothing from XComs or task
states.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC

from seedbank.bank import Bank
from seedbank.errors import NotApproved, UnusableReferences, UsageError
from seedbank.evidence.requests import asked_as, people
from seedbank.orchestration.runs import Order
from seedbank.references.clearance import cleared
from seedbank.review.decisions import MIN_REASON, record_decision
from seedbank.review.records import Decision, Dossier, decision_of
from seedbank.review.roster import SEATS, Reviewer, Roster, load_roster

MAX_REASON = 2000
"""Characters; a reason is kept in the ledger for ever."""


@dataclass(frozen=True)
class Case:
    """One dossier before its reviewers, in one run of ``release_review``."""

    bank: Bank
    order: Order
    digest: str
    dossier: Dossier
    roster: Roster
    requesters: frozenset[str]
    """Everyone who asked for images of this concept, at any stage and under any name: none of them may review them."""

    @classmethod
    def of(cls, order: Order) -> Case:
        """The case that a run is about.

        Raises:
            UsageError: there is no such dossier, or it is another concept's.
        """
        bank, concept = order.bank(), order.one_concept()
        digest = str(order.message.get("dossier") or "") or _latest_dossier(bank, order)
        dossier = bank.load(Dossier, digest)
        if dossier.concept != concept:
            raise UsageError(
                f"expected a dossier of {concept!r}, got {digest[:12]} of {dossier.concept!r}; give the right digest"
            )
        # Whoever triggered this run counts at once, before `open` has written it down.
        roster, requesters = load_roster(bank.settings.roster), bank.requesters(concept).union(people([order.user]))
        return cls(bank, order, digest, dossier, roster, requesters)

    @property
    def short_digest(self) -> str:
        """What people see of the dossier's digest; 48 bits tell all dossiers of a bank apart."""
        return self.digest[:12]

    def open(self) -> None:
        """Write down who asks for this review.

        Raises:
            NotApproved: not enough people are left who may review the dossier.
        """
        self.bank.request("review", concept=self.dossier.concept, subject=self.digest, requested_by=[self.order.user])
        self._check_people()

    def decision(self, seat: int) -> Decision | None:
        """The signed decision of ``seat`` on this dossier, if there is one."""
        return decision_of(self.bank, self.digest, seat)

    def decisions(self) -> list[Decision]:
        """The signed decisions on this dossier so far, in the order of their seats."""
        return [decision for seat in range(1, SEATS + 1) if (decision := self.decision(seat))]

    @property
    def published(self) -> bool:
        """Whether this dossier's release is on the ledger."""
        entries = self.bank.ledger.entries(concept=self.dossier.concept, event="release.published")
        return any(entry.data.get("key") == self.digest for entry in entries)

    def confirm(self, decision: Decision) -> Decision:
        """Make sure that a decision in the store is on the ledger too: the task that signed it may have been killed in between."""
        # Not `settle` alone: whether this person may answer is asked again. One who left the roster stays named, and is refused.
        return record_decision(
            self.bank,
            dossier=decision.dossier,
            seat=decision.seat,
            reviewer=self.roster.reviewers.get(decision.reviewer) or Reviewer(id=decision.reviewer, name=decision.name),
            verdict=decision.verdict,
            reason=decision.reason,
            scripted=decision.scripted,
            via=decision.via,
            login=decision.login,
        )

    def eligible(self, seat: int) -> dict[str, Reviewer]:
        """Who may answer for ``seat``, by id: on the roster, not a requester, and not whoever answered for the other seat."""
        taken = {decision.reviewer for decision in self.decisions() if decision.seat != seat}
        return {who: reviewer for who, reviewer in self._impartial().items() if who not in taken}

    def _check_people(self) -> None:
        impartial = sorted(self._impartial())
        if len(impartial) < SEATS:
            raise NotApproved(
                f"expected at least {SEATS} reviewers who did not ask for this themselves, got {impartial or 'nobody'} "
                f"(asked for by {', '.join(sorted(self.requesters))}); add people to {self.bank.settings.roster}"
            )

    def rejection(self) -> str:
        """Who said no and why, or an empty string."""
        return "; ".join(
            f"{decision.name} ({decision.reviewer}, seat {decision.seat}) rejected dossier {self.short_digest}: {decision.reason}"
            for decision in self.decisions()
            if decision.verdict != "publish"
        )

    def fault(self, seat: int, user: str, reason: str, *, login: str = "") -> str:
        """Why an answer cannot count, in plain words, or an empty string.

        Args:
            seat: who is asked.
            user: the auth manager's id of whoever answers.
            reason: what they say.
            login: what else the auth manager calls them; it is the name by which a run knows who triggered it.
        """
        if name := asked_as([login], self.requesters):
            return f"{user} may not answer for seat {seat}: {name} asked for {self.dossier.concept}"
        if user not in self.eligible(seat):
            return (
                f"{user or 'nobody'} may not answer for seat {seat}; {', '.join(self.eligible(seat)) or 'nobody'} may"
            )
        if not MIN_REASON <= len(reason.strip()) <= MAX_REASON:
            return f"expected a reason of {MIN_REASON} to {MAX_REASON} characters, got {len(reason.strip())}"
        return ""

    def rights_fault(self) -> str:
        """Why nobody may say "publish" today, because of the rights of the references; empty when they hold."""
        try:
            cleared(self.bank, self.dossier.concept, self.dossier.references)
        except UnusableReferences as error:
            return str(error)
        return ""

    def _impartial(self) -> dict[str, Reviewer]:
        reviewers = self.roster.reviewers.items()
        return {who: reviewer for who, reviewer in reviewers if not asked_as(reviewer.called, self.requesters)}


def _latest_dossier(bank: Bank, order: Order) -> str:
    """The concept's newest dossier when the run was triggered: the same in every task of the run, whatever is frozen meanwhile."""
    frozen = [
        str(entry.data["key"])
        for entry in bank.ledger.entries(concept=order.one_concept(), event="dossier.frozen")
        # Both in UTC, ISO 8601 with seconds: compared as text they are compared as times.
        if entry.time <= order.since.astimezone(UTC).isoformat(timespec="seconds")
    ]
    if not frozen:
        raise UsageError(f"no dossier of {order.concept!r} is frozen yet; run seed_optimisation for it first")
    return frozen[-1]
