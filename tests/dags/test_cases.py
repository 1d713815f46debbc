"""What a run was asked to do, and who may decide about it. No Airflow database, no run: only the facts they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import DagRun

from seedbank.bank import Bank
from seedbank.errors import NotApproved, UsageError, VerificationError
from seedbank.orchestration.assets import DOSSIERS, PRODUCERS
from seedbank.orchestration.cases import MAX_REASON, Case
from seedbank.orchestration.runs import Order
from seedbank.review.decisions import approved
from seedbank.review.records import Dossier
from seedbank.review.roster import load_roster
from support.trials import answer, make_trial, write_roster

NOW = datetime.now(UTC)
OURS = PRODUCERS[DOSSIERS.name]


def context(*events: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A task's context, as far as an order reads it; ``events`` are extras of asset events, oldest first."""
    run = {
        "dag_id": "release_review",
        "run_id": "manual__1",
        "run_type": "manual",
        "run_after": NOW,
        "state": "running",
        "start_date": NOW,
        "end_date": None,
        "data_interval_start": None,
        "data_interval_end": None,
        "consumed_asset_events": [],
        "clear_number": 0,
        "logical_date": None,
        "partition_key": None,
        "triggering_user_name": "zoe",
    }
    made = [event(extra, age=age) for age, extra in enumerate(events)]
    return {
        "dag_run": DagRun.model_validate(run | fields),
        "triggering_asset_events": {DOSSIERS: made} if made else {},
    }


def event(extra: Mapping[str, Any], *, age: int = 0, source: tuple[str | None, str | None] = OURS) -> Any:
    """An asset event as a task sees it; Airflow's server says which task caused it, and of one that was posted, nothing."""
    dag_id, task_id = source
    return SimpleNamespace(
        extra=dict(extra), timestamp=NOW + timedelta(seconds=age), source_dag_id=dag_id, source_task_id=task_id
    )


def order(**changes: Any) -> Order:
    return replace(Order.of(context(partition_key="wingnut"), DOSSIERS), since=NOW + timedelta(hours=1), **changes)


def test_the_partition_names_the_concept() -> None:
    assert Order.of(context(partition_key="hook", conf={"concept": "crank"})).one_concept() == "hook"
    assert Order.of(context(conf={"concept": "crank"})).one_concept() == "crank"


def test_a_run_for_no_concept_is_refused() -> None:
    with pytest.raises(UsageError, match="trigger it with the concept's name as the partition key"):
        Order.of(context()).one_concept()


def test_the_newest_event_outweighs_the_configuration() -> None:
    made = Order.of(context({"dossier": "old"}, {"dossier": "new"}, conf={"dossier": "typed"}), DOSSIERS)
    assert made.message == {"dossier": "new"}
    assert Order.of(context(conf={"dossier": "typed"}), DOSSIERS).message == {"dossier": "typed"}


def test_the_owner_and_whoever_triggered_it_ask_whatever_a_message_says(bank: Bank) -> None:
    made = Order.of(context(conf={"requested_by": ["alice"]}, triggering_user_name="bob"))
    assert made.requested_by(bank.concept("wingnut")) == ("bob", "mia")


@pytest.mark.parametrize("source", [(None, None), ("somebody_elses", "task"), (OURS[0], "other")])
def test_events_that_our_tasks_did_not_cause_are_not_believed(source: tuple[str | None, str | None]) -> None:
    posted = event({"dossier": "posted", "requested_by": ["mia"]}, age=9, source=source)
    run = context(run_type="asset_triggered", triggering_user_name=None)
    with pytest.raises(
        UsageError, match=r"got an asset event .* who posted it. Sign in to Airflow and trigger the DAG"
    ):
        Order.of(run | {"triggering_asset_events": {DOSSIERS: [posted]}}, DOSSIERS)
    both = run | {"triggering_asset_events": {DOSSIERS: [event({"dossier": "ours"}), posted]}}
    assert Order.of(both, DOSSIERS).message == {"dossier": "ours"}


def test_a_run_that_nobody_asked_for_is_refused() -> None:
    for kind in ("manual", "backfill"):
        with pytest.raises(UsageError, match=rf"expected to know who asks .* got a run \({kind}\) without a user"):
            Order.of(context(run_type=kind, triggering_user_name=None))


def test_only_a_clock_is_a_schedule() -> None:
    assert Order.of(context(run_type="scheduled", triggering_user_name=None)).scheduled
    assert not Order.of(context(run_type="manual")).scheduled


def test_what_a_run_does_is_recorded_in_the_name_of_its_dag(bank: Bank) -> None:
    assert order().bank().record("trial.started", concept="wingnut").actor == "airflow:release_review"


def test_requesters_cannot_sit_whatever_they_are_called(bank: Bank, dossier: Dossier) -> None:
    assert set(Case.of(order()).eligible(1)) == {"alice", "bob", "robo"}
    bank.request("trial", concept="wingnut", subject="s", requested_by=["alice example", "cli:bob"])
    assert set(Case.of(order()).eligible(1)) == {"robo"}


def test_whoever_opens_the_review_cannot_sit(bank: Bank, dossier: Dossier) -> None:
    case = Case.of(order(user="alice"))
    case.open()
    assert set(case.eligible(1)) == {"bob", "robo"}
    assert set(Case.of(order()).eligible(1)) == {"bob", "robo"}  # in any later run too


def test_a_login_that_asked_cannot_sit_under_its_number(bank: Bank, dossier: Dossier) -> None:
    write_roster(bank.settings, {"1": {"name": "M. E."}, "2": {"name": "Bob Example"}})
    case = Case.of(order())
    assert "mia asked for wingnut" in case.fault(1, "1", "looks right", login="mia")
    assert case.fault(1, "2", "looks right", login="bob") == ""


def test_whoever_sits_at_one_seat_cannot_sit_at_the_other(bank: Bank, dossier: Dossier) -> None:
    answer(bank, dossier.digest, 2, load_roster(bank.settings.roster).reviewers["bob"])
    case = Case.of(order())
    assert set(case.eligible(1)) == {"alice", "robo"}
    assert "bob may not answer for seat 1" in case.fault(1, "bob", "looks right")


@pytest.mark.parametrize("reason", ["", "    ", " ok ", "x" * (MAX_REASON + 1)])
def test_a_reason_must_say_something(bank: Bank, dossier: Dossier, reason: str) -> None:
    assert "expected a reason of 5 to 2000 characters" in Case.of(order()).fault(1, "alice", reason)
    assert Case.of(order()).fault(1, "alice", "looks right") == ""


def test_an_answer_of_nobody_does_not_count(bank: Bank, dossier: Dossier) -> None:
    assert "nobody may not answer" in Case.of(order()).fault(1, "", "looks right")


def test_too_few_reviewers_are_too_few(bank: Bank, dossier: Dossier) -> None:
    bank.request("trial", concept="wingnut", subject="s", requested_by=["alice", "bob"])
    with pytest.raises(NotApproved, match=r"expected at least 2 reviewers .* got \['robo'\] .* add people to"):
        Case.of(order()).open()


def test_a_run_reviews_what_was_frozen_before_it_not_what_came_meanwhile(bank: Bank, dossier: Dossier) -> None:
    make_trial(bank, number=1).dossier()
    entries = list(bank.ledger.entries(event="dossier.frozen"))
    assert len(entries) == 2
    assert Case.of(order()).digest == entries[-1].data["key"]
    first = datetime.fromisoformat(entries[0].time)
    with pytest.raises(UsageError, match="no dossier of 'wingnut' is frozen yet"):
        Case.of(replace(order(), since=first - timedelta(seconds=1)))


def test_a_dossier_of_another_concept_is_refused(bank: Bank, dossier: Dossier) -> None:
    made = replace(order(message={"dossier": dossier.digest}), concept="hook")
    with pytest.raises(UsageError, match=r"expected a dossier of 'hook', got .* of 'wingnut'"):
        Case.of(made)


@pytest.mark.parametrize("digest", ["../../keys/review", "0" * 64, "x" * 2000])
def test_a_dossier_that_does_not_exist_is_refused(bank: Bank, dossier: Dossier, digest: str) -> None:
    with pytest.raises(UsageError):
        Case.of(order(message={"dossier": digest}))


def test_a_dossier_that_was_changed_is_refused(bank: Bank, dossier: Dossier) -> None:
    bank.store.put(f"dossiers/{dossier.digest}.json", dossier.to_bytes().replace(b"wingnut", b"wingbut"))
    with pytest.raises(VerificationError, match="the object was changed"):
        Case.of(order())


def test_a_decision_whose_task_was_killed_before_the_ledger_had_it_is_put_on_it(bank: Bank, dossier: Dossier) -> None:
    people = load_roster(bank.settings.roster).reviewers
    for seat, who in enumerate(("alice", "bob"), start=1):
        answer(bank, dossier.digest, seat, people[who])
    *_, newest = bank.store.keys("ledger/")
    bank.store.delete(newest)
    with pytest.raises(NotApproved, match="not on the ledger"):
        approved(bank, dossier)
    case = Case.of(order())
    decision = case.decision(2)
    assert decision is not None
    assert case.confirm(decision) == decision
    assert [item.reviewer for item in approved(bank, dossier).decisions] == ["alice", "bob"]
