"""Who asked, by the ledger, and that none of them can review: whichever stage they asked at, whenever, whatever they were called."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbank.bank import Bank
from seedbank.errors import NotApproved, UsageError
from seedbank.evidence.requests import asked_as, identity, people
from seedbank.release.publish import publish
from seedbank.review.decisions import approved
from seedbank.review.dossier import prepare_dossier
from seedbank.review.roster import Reviewer, load_roster
from support.trials import CONCEPT, ROSTER, Made, answer, make_bank, make_trial, write_roster

STAGES = ("intake", "references", "trial", "expansion", "dossier", "review")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_trial(make_bank(tmp_path))


def person(made: Made, who: str) -> Reviewer:
    return load_roster(made.bank.settings.roster).reviewers[who]


def acting(bank: Bank, actor: str) -> Bank:
    return replace(bank, settings=replace(bank.settings, actor=actor))


def test_alice_starts_bob_is_killed_carol_finishes_and_all_are_barred(made: Made) -> None:
    dossier = made.dossier()
    for who in ("alice", "bob", "carol"):
        made.bank.request("trial", concept=CONCEPT, subject=made.reference_set.digest, requested_by=[who])
    assert made.bank.requesters(CONCEPT) >= {"alice", "bob", "carol"}
    for who in ("alice", "bob", "carol"):
        with pytest.raises(NotApproved, match=f"{who} asked for wingnut and so cannot review it; somebody else must"):
            answer(made.bank, dossier.digest, 1, person(made, who))


@pytest.mark.parametrize("stage", STAGES)
def test_asking_at_any_stage_bars(made: Made, stage: str) -> None:
    dossier = made.dossier()
    made.bank.request(stage, concept=CONCEPT, subject="s", requested_by=["alice"])  # type: ignore[arg-type]
    with pytest.raises(NotApproved, match="alice asked for wingnut"):
        answer(made.bank, dossier.digest, 1, person(made, "alice"))


def test_asking_for_another_concept_does_not_bar(made: Made) -> None:
    made.bank.request("trial", concept="hook", subject="s", requested_by=["alice", "bob"])
    assert approved(made.bank, made.approve()).requested_by == ("mia", "test")


def test_asking_for_a_dossier_that_is_frozen_already_bars(made: Made) -> None:
    dossier = made.dossier()
    assert prepare_dossier(made.bank, made.trial, requested_by=["alice"]) == dossier
    with pytest.raises(NotApproved, match="alice asked for wingnut"):
        answer(made.bank, dossier.digest, 1, person(made, "alice"))


def test_asking_after_the_answer_stops_the_publication(made: Made) -> None:
    dossier = made.approve()
    made.bank.request("trial", concept=CONCEPT, subject=made.reference_set.digest, requested_by=["bob"])
    with pytest.raises(NotApproved, match="bob asked for wingnut"):
        publish(made.bank, dossier.digest)


def test_a_release_says_who_had_asked_when_it_was_decided(made: Made) -> None:
    dossier = made.approve()
    made.bank.request("trial", concept=CONCEPT, subject=made.reference_set.digest, requested_by=["zoe"])
    assert publish(made.bank, dossier.digest).manifest.requested_by == ("mia", "test")


def test_asking_again_after_the_release_leaves_it_published(made: Made) -> None:
    dossier = made.approve()
    release = publish(made.bank, dossier.digest)
    made.bank.request("trial", concept=CONCEPT, subject=made.reference_set.digest, requested_by=["bob"])
    assert publish(made.bank, dossier.digest) == release


@pytest.mark.parametrize(
    "asked_for_as",
    ["1", "mia", "MIA", " Mia Example ", "mia@example.org", "cli:mia", "m.example", "\uff4d\uff49\uff41"],
)
def test_whatever_somebody_was_called_when_they_asked(made: Made, asked_for_as: str) -> None:
    mia = {"name": "Mia Example", "email": "mia@example.org", "identities": ["mia", "m.example"]}
    write_roster(made.bank.settings, {"1": mia, "2": {"name": "Bob Example"}})
    dossier = prepare_dossier(acting(made.bank, "airflow:x"), made.trial)
    made.bank.request("trial", concept=CONCEPT, subject="s", requested_by=[asked_for_as])
    with pytest.raises(NotApproved, match=r"^1 asked for wingnut.* and so cannot review it; somebody else must"):
        answer(made.bank, dossier.digest, 1, person(made, "1"))


def test_a_login_that_the_roster_does_not_list_is_compared_when_its_person_answers(made: Made) -> None:
    write_roster(made.bank.settings, {"1": {"name": "M. E."}, "2": {"name": "Bob Example"}})
    dossier = made.dossier()
    with pytest.raises(NotApproved, match=r"1 asked for wingnut \(as mia\) and so cannot review it"):
        answer(made.bank, dossier.digest, 1, person(made, "1"), login="mia")


def test_the_login_is_signed_and_compared_again_at_publication(made: Made) -> None:
    dossier = made.dossier()
    for seat, who in enumerate(("alice", "bob"), start=1):
        answer(made.bank, dossier.digest, seat, person(made, who), login=f"{who}@studio")
    assert [decision.login for decision in approved(made.bank, dossier).decisions] == ["alice@studio", "bob@studio"]
    made.bank.request("references", concept=CONCEPT, subject="s", requested_by=["bob@studio"])
    with pytest.raises(NotApproved, match=r"bob asked for wingnut \(as bob@studio\)"):
        approved(made.bank, dossier)


def test_a_dossier_of_a_search_that_nobody_asked_for_is_not_approved(tmp_path: Path) -> None:
    made = make_trial(make_bank(tmp_path))
    dossier = made.approve()
    unasked = make_bank(tmp_path / "other")
    for key in made.bank.store.keys(""):
        if not key.startswith("ledger/"):
            unasked.store.put(key, made.bank.store.get(key))
    for entry in made.bank.ledger.entries():
        if entry.event != "request.trial":
            unasked.record(entry.event, concept=entry.concept, **entry.data)
    unasked = replace(unasked, settings=made.bank.settings)
    with pytest.raises(NotApproved, match="nobody is on record as having asked for the search behind dossier"):
        approved(unasked, dossier)


def test_the_same_people_asking_for_the_same_again_add_nothing(tmp_path: Path) -> None:
    bank = make_bank(tmp_path)
    for asked in (["bob", "alice"], ["alice", "bob", "alice"], ["alice", "bob", "carol"]):
        bank.request("trial", concept=CONCEPT, subject="s", requested_by=asked)
    assert [entry.data["requested_by"] for entry in bank.ledger.entries()] == [
        ["alice", "bob", "test"],
        ["alice", "bob", "carol", "test"],
    ]


def test_schedules_and_dags_are_no_people(tmp_path: Path) -> None:
    bank = acting(make_bank(tmp_path), "airflow:reference_intake")
    bank.request("intake", concept=CONCEPT, subject="s", requested_by=["schedule:reference_intake", ""])
    assert list(bank.ledger.entries()) == []
    assert people(["cli:bob", "airflow:x", "scripted:alice", "bob"]) == ("alice", "bob")


@given(st.text(min_size=1))
def test_spelling_is_no_disguise(name: str) -> None:
    if identity(name):
        assert asked_as([f" {name} "], [name]) == name
    assert asked_as(["", " "], [name, ""]) == ""


def test_two_people_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    bank = make_bank(tmp_path)
    write_roster(bank.settings, {**ROSTER, "7": {"name": "Somebody", "identities": ["ALICE"]}})
    with pytest.raises(UsageError, match="7 and alice are both called 'alice'; give each person one entry"):
        load_roster(bank.settings.roster)
