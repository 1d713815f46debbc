"""The review gate: one task a seat, which waits for a person and turns the answer into a signed decision. It fails closed.

What counts is the decision that :meth:`ReviewGate.execute_complete` signs, and nothing else. A task that was marked successful, an XCom
that was written by hand, an answer by somebody who may not sit here: none of them leaves a decision, and publication reads decisions.

- The options name the dossier ("Publish 3f2a9c1b04de"). Airflow accepts no other option, so an answer says itself which dossier it is for.
- There is no default answer and no time-out: silence stays silence.
- A seat that has its decision does not ask again, whatever is cleared or triggered anew. A second opinion needs a new dossier.
- An answer that cannot count (no reason, a person who meanwhile asked for images or sits on the other seat, a "publish" while the rights
  of a photo do not hold) is not recorded; the seat asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from seedbank.orchestration.assets import DOSSIERS
from seedbank.orchestration.runs import Order

PUBLISH = "Publish"
REJECT = "Reject"


class ReviewGate(HITLOperator):  # type: ignore[misc]  # Airflow is not typed for us
    """One seat of the review.

    Args:
        seat: 1 or 2. Seat 2 asks only when seat 1 said yes.
    """

    def __init__(self, *, seat: int, **kwargs: Any) -> None:
        reason = Param(
            "",
            type="string",
            title="Why",
            description_md="What you looked at and what decided it; at least 5 characters. It is signed with your name.",
            format="multiline",
        )
        super().__init__(
            subject=f"Seat {seat}",
            options=[PUBLISH, REJECT],
            params={"reason": reason},
            retry_delay=timedelta(seconds=5),
            **kwargs,
        )
        self.seat = seat

    def execute(self, context: Any) -> Any:
        """Ask, unless this seat has answered; skip when an earlier seat said no.

        Raises:
            AirflowSkipException: seat 1 rejected.
            AirflowFailException: an earlier seat has no signed decision, or nobody may sit here.
        """
        from seedbank.orchestration.body import body, subject
        from seedbank.orchestration.cases import Case

        case = Case.of(Order.of(context, DOSSIERS))
        # Before all else: a cleared task must neither ask again nor skip over an answer that is signed.
        if decision := case.decision(self.seat):
            self.log.info("seat %d has answered: %s by %s", self.seat, decision.verdict, decision.reviewer)
            return _summary(case.confirm(decision))
        if rejection := case.rejection():
            raise AirflowSkipException(rejection)
        for earlier in range(1, self.seat):
            if case.decision(earlier) is None:
                raise AirflowFailException(
                    f"expected a signed decision of seat {earlier} on dossier {case.short_digest}, got none; a task that was "
                    f"marked successful is not an answer. Clear seat_{earlier} to ask again"
                )
        self._offer(case)
        self.subject, self.body = subject(case, self.seat), body(case, self.seat)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Sign the answer, or ask again when it cannot count."""
        from seedbank.orchestration.cases import Case
        from seedbank.review.decisions import record_decision

        case = Case.of(Order.of(context, DOSSIERS))
        # Airflow resumes in another process with an operator built anew: options and people must be set before it checks them.
        self._offer(case)
        user, login, reason = _who(event, "id"), _who(event, "name"), _reason(event)
        # An error of the trigger is no answer: `super().execute_complete` raises it.
        fault = case.fault(self.seat, user, reason, login=login) if "error" not in event else ""
        # Rights forbid a "publish" only; a "reject" counts whatever they are.
        if not fault and event.get("chosen_options") == [self.options[0]]:
            fault = case.rights_fault()
        if fault:
            self.log.warning("not recorded, asking again: %s", fault)
            # Deferred anew: a failure would use up a retry for each such answer.
            return self.execute(context)
        answer = super().execute_complete(context, event)
        # Who answers is what the auth manager says, never what the form says.
        reviewer = case.eligible(self.seat)[user]
        decision = record_decision(
            case.bank,
            dossier=case.digest,
            seat=self.seat,
            reviewer=reviewer,
            verdict="publish" if answer["chosen_options"] == [self.options[0]] else "reject",
            reason=reason,
            scripted=reviewer.scripted,
            via=case.order.via,
            login=login,
        )
        return _summary(decision)

    def _offer(self, case: Any) -> None:
        """Bind the options to the dossier and the seat to those who may sit there.

        Airflow reads an empty list of assigned users as "everybody", so nobody means failure here.
        """
        people = case.eligible(self.seat)
        if not people:
            raise AirflowFailException(
                f"nobody on the roster may answer for seat {self.seat}; add people to {case.bank.settings.roster}"
            )
        self.options = [f"{verdict} {case.short_digest}" for verdict in (PUBLISH, REJECT)]
        self.assigned_users = [{"id": who, "name": reviewer.name} for who, reviewer in people.items()]


def _who(event: Mapping[str, Any], field: str) -> str:
    """``id`` or ``name`` of whoever answered, by Airflow's auth manager; they are the same in some of them."""
    return str((event.get("responded_by_user") or {}).get(field) or "")


def _reason(event: Mapping[str, Any]) -> str:
    """The reason, if the form came back with that field and no other."""
    given = event.get("params_input") or {}
    # Airflow's API passes on whatever fields somebody sends.
    return str(given["reason"] or "") if given.keys() == {"reason"} else ""


def _summary(decision: Any) -> dict[str, Any]:
    """What the UI shows of a decision; nothing reads it back."""
    return {
        "seat": decision.seat,
        "reviewer": decision.reviewer,
        "verdict": decision.verdict,
        "decision": decision.digest,
    }
