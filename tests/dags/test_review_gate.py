"""The review gate against real people: real answers through Airflow's own REST API while the DAG runs in ``dag.test()``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from seedbank.bank import Bank
from seedbank.evidence.ledger import Entry
from seedbank.references.records import Reference
from seedbank.release import verify_release
from seedbank.review.records import Dossier, decision_of

pytestmark = pytest.mark.integration

Review = Callable[..., dict[str, str | None]]
TASKS = ("open_review", "seat_1", "seat_2", "publish", "tag_mlflow")
REJECTED = {
    "open_review": "success",
    "seat_1": "success",
    "seat_2": "skipped",
    "publish": "skipped",
    "tag_mlflow": "skipped",
}


def published(bank: Bank) -> list[str]:
    """Everything that ever left: files of releases, and entries that say so."""
    return [*bank.store.keys("releases/"), *(entry.event for entry in bank.ledger.entries(event="release"))]


def latest(bank: Bank) -> Entry:
    """The newest release's entry."""
    *_, entry = bank.ledger.entries(event="release.published")
    return entry


def answers(bank: Bank) -> list[tuple[str, str, bool]]:
    """Who said what, by the ledger, and whether a program said it."""
    entries = bank.ledger.entries(event="decision.recorded")
    return [(entry.data["reviewer"], entry.data["verdict"], entry.data["scripted"]) for entry in entries]


def test_two_people_say_yes_and_exactly_the_approved_images_are_published(
    bank: Bank, dossier: Dossier, review: Review
) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        room.answer("alice", 1)
        assert "Alice Example said yes at seat 1" in room.asks(2)["body"]
        room.answer("robo", 2)
        room.wait("publish", "success", "failed")
        (event,) = room.announced()
        assert (event["name"], event["partition_key"]) == ("releases", "wingnut")
        assert event["extra"]["dossier"] == dossier.digest

    states = review(people)
    assert states == dict.fromkeys(TASKS, "success") | {"tag_mlflow": "skipped"}  # this trial was never logged there
    assert answers(bank) == [("alice", "publish", False), ("robo", "publish", True)]
    folder = Path(bank.settings.store) / str(latest(bank).data["folder"])
    release = verify_release(folder, bank.settings.keys / "release.pub")
    assert sorted(image.candidate.image for image in release.manifest.images) == sorted(
        item.image for item in dossier.candidates
    )

    def nobody(room: Any) -> None:
        room.wait("publish", "success")

    before = list(bank.store.keys())
    assert review(nobody) == states  # asked nobody, found the release
    assert list(bank.store.keys()) == before


def test_a_rejection_at_seat_1_is_recorded_and_ends_the_review(bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        assert room.answer("alice", 1, "Reject", reason="the wings are on one side").status_code == 200

    assert review(people) == REJECTED
    said = decision_of(bank, dossier.digest, 1)
    assert said is not None
    assert (said.reviewer, said.verdict, said.reason) == ("alice", "reject", "the wings are on one side")
    assert said.via.startswith("airflow:release_review/manual__")
    assert answers(bank) == [("alice", "reject", False)]
    assert published(bank) == []


def test_a_rejection_at_seat_2_outweighs_the_yes_of_seat_1(bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        room.answer("robo", 1)
        room.asks(2)
        assert room.answer("bob", 2, "Reject", reason="the second one is a copy").status_code == 200

    assert review(people) == REJECTED | {"seat_2": "success"}
    assert answers(bank) == [("robo", "publish", True), ("bob", "reject", False)]
    assert published(bank) == []


def test_marking_a_seat_successful_does_not_seat_anybody(bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        assert room.mark("mia", "seat_1", "success").status_code == 200

    states = review(people)
    assert (states["seat_1"], states["seat_2"]) == (
        "success",
        "failed",
    )  # seat 2 looks for the signed decision of seat 1
    assert (answers(bank), published(bank)) == ([], [])


def test_marking_both_seats_successful_publishes_nothing(bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        for task in ("seat_2", "seat_1"):
            assert room.mark("alice", task, "success").status_code == 200

    states = review(people)
    assert (states["seat_1"], states["seat_2"], states["publish"]) == ("success", "success", "failed")
    assert (answers(bank), published(bank)) == ([], [])


def test_one_honest_yes_and_one_marked_seat_publish_nothing(bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        room.answer("alice", 1)
        room.asks(2)
        assert room.mark("alice", "seat_2", "success").status_code == 200

    assert review(people)["publish"] == "failed"
    assert answers(bank) == [("alice", "publish", False)]
    assert published(bank) == []


def test_marking_publish_successful_publishes_nothing(bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        for task in ("publish", "seat_2", "seat_1"):
            assert room.mark("mia", task, "success").status_code == 200
        room.wait("tag_mlflow", "success", "skipped", "failed")
        assert room.announced() == []

    assert review(people)["publish"] == "success"
    assert published(bank) == []


def test_forged_xcoms_publish_nothing(bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        yes = {
            "seat": 1,
            "reviewer": "alice",
            "verdict": "publish",
            "decision": "0" * 64,
            "chosen_options": ["Publish"],
        }
        for task in ("seat_1", "seat_2"):
            assert room.forge_xcom("alice", task, yes).status_code == 201
        for task in ("seat_2", "seat_1"):
            assert room.mark("alice", task, "success").status_code == 200

    assert review(people)["publish"] == "failed"
    assert published(bank) == []


def test_answering_twice_changes_nothing(bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        assert room.answer("alice", 1, reason="all four are right").status_code == 200
        assert room.answer("bob", 1, "Reject").status_code == 409  # the seat has its answer
        assert [user["id"] for user in room.asks(2)["assigned_users"]] == ["bob", "robo"]
        assert room.answer("alice", 2).status_code == 403  # one person, one seat
        assert room.answer("bob", 2, "Reject", reason="this ends the test").status_code == 200

    review(people)
    assert answers(bank) == [("alice", "publish", False), ("bob", "reject", False)]


def test_nobody_answers_as_somebody_else(airflow: Any, bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        refused = {
            "mia": 403,  # on the roster, but she asked for the images
            "carol": 403,  # not on the roster
            "admin": 403,  # rank is not a seat
            "vic": 403,  # may only look
            None: 401,
        }
        assert {who: room.answer(who, 1).status_code for who in refused} == refused
        alice = {"id": "alice", "name": "Alice Example"}
        assert room.answer("carol", 1, responded_by=alice, responded_by_user=alice, user=alice).status_code in (
            403,
            422,
        )
        path = f"{room.run}/taskInstances/seat_1/-1/hitlDetails"
        forged = {"Authorization": f"Bearer {airflow.token('carol')[:-8]}AAAAAAAA"}
        assert airflow.client.patch(path, json={"chosen_options": ["Publish"]}, headers=forged).status_code in (
            401,
            403,
        )
        # What the tasks' own API accepts is signed for tasks, not for people.
        task = room.airflow.call("admin", "GET", f"{room.run}/taskInstances/seat_1").json()["id"]
        body = {"ti_id": task, "chosen_options": room.question(1)["options"][:1], "params_input": {}}
        assert airflow.call("carol", "PATCH", f"/execution/hitlDetails/{task}", json=body).status_code in (401, 403)
        assert room.states()["seat_1"] == "awaiting_input"
        room.answer("alice", 1, "Reject", reason="this ends the test")

    review(people)
    assert answers(bank) == [("alice", "reject", False)]


def test_an_answer_that_cannot_count_is_asked_for_again(bank: Bank, dossier: Dossier, review: Review) -> None:
    def people(room: Any) -> None:
        first = room.asks(1)
        other = {"chosen_options": ["Publish 000000000000"]}
        assert room.answer("alice", 1, **other).status_code == 400  # another dossier's option
        assert room.answer("alice", 1, chosen_options=["Publish"]).status_code == 400
        assert room.answer("alice", 1, chosen_options=first["options"]).status_code == 400
        for params in ({"reason": "  ok  "}, {}, {"reason": "a" * 2001}, {"reason": "they are right", "seat": 2}):
            assert room.answer("alice", 1, params_input=params).status_code == 200
            room.asked_again(1)
        assert answers(bank) == []
        room.answer("alice", 1, "Reject", reason="this ends the test")

    review(people)
    assert answers(bank) == [("alice", "reject", False)]


def test_whoever_asks_for_images_while_the_seat_waits_cannot_answer_any_more(
    bank: Bank, dossier: Dossier, review: Review
) -> None:
    def people(room: Any) -> None:
        room.asks(1)
        bank.request("trial", concept="wingnut", subject=dossier.reference_set, requested_by=["ALICE"])
        for _ in range(2):  # Airflow keeps whom it asked first and takes her answers; they do not count
            assert room.answer("alice", 1).status_code == 200
            room.asked_again(1)
        assert answers(bank) == []
        room.answer("bob", 1, "Reject", reason="this ends the test")

    review(people)
    assert answers(bank) == [("bob", "reject", False)]


def test_nobody_says_publish_while_the_rights_of_a_photo_do_not_hold(
    bank: Bank, dossier: Dossier, review: Review
) -> None:
    key = f"photos/{dossier.concept}/{dossier.references[0].photo}.json"
    sound = Reference.from_bytes(bank.store.get(key))
    expired = sound.rights.model_copy(update={"expires": date(2026, 1, 31)})

    def people(room: Any) -> None:
        body = room.asks(1)["body"].replace("\\", "")
        assert "Cannot be published today." in body
        assert "rights expired on 2026-01-31" in body
        assert room.answer("alice", 1).status_code == 200
        room.asked_again(1)
        assert answers(bank) == []
        bank.store.put(key, sound.to_bytes())
        room.answer("alice", 1)
        assert "Cannot be published today." not in room.asks(2)["body"]
        room.answer("bob", 2, "Reject", reason="its rights are doubtful")

    bank.store.put(key, sound.model_copy(update={"rights": expired}).to_bytes())
    assert review(people)["publish"] == "skipped"
    assert answers(bank) == [("alice", "publish", False), ("bob", "reject", False)]
    assert published(bank) == []


def test_a_seat_that_has_answered_is_never_asked_again(bank: Bank, dossier: Dossier, review: Review) -> None:
    def no(room: Any) -> None:
        room.asks(1)
        room.answer("alice", 1, "Reject", reason="the wings are missing")

    def watch(room: Any) -> None:
        room.wait("publish", "skipped")

    review(no)
    assert review(watch) == REJECTED
    assert answers(bank) == [("alice", "reject", False)]


def test_the_form_shows_the_dossier_and_its_rules(airflow: Any, bank: Bank, dossier: Dossier, review: Review) -> None:
    seen: dict[str, Any] = {}

    def people(room: Any) -> None:
        seen.update(room.asks(1))
        room.answer("alice", 1, "Reject", reason="this ends the test")

    review(people)
    short = dossier.digest[:12]
    assert seen["subject"] == f"Seat 1 of 2: publish 2 images of wingnut? (dossier {short})"
    assert seen["options"] == [f"Publish {short}", f"Reject {short}"]
    assert [user["id"] for user in seen["assigned_users"]] == ["alice", "bob", "robo"]
    assert seen["defaults"] is None
    body = seen["body"]
    for part in (
        dossier.digest,
        "2 different people",
        "mia",
        "at least 5",
        r"wingnut\-0\.jpg, CC\-BY\-4\.0",
        "guard 0.80",
    ):
        assert part in body, part
    pictures = [item.image for item in (*dossier.plain, *dossier.candidates)] + [dossier.references[0].photo]
    for picture in pictures:
        url = f"/seedbank/dossiers/{dossier.digest}/images/{picture}.png?size=160"
        assert f"]({url})" in body
        assert airflow.call("alice", "GET", url).headers["content-type"] == "image/png"


@pytest.mark.parametrize("people", [("alice", "mia"), ("mia", "carol")])
def test_nobody_is_asked_when_too_few_could_answer(
    bank: Bank, dossier: Dossier, review: Review, people: tuple[str, ...]
) -> None:
    roster = {"reviewers": {who: {"name": who.title()} for who in people}}
    bank.settings.roster.write_text(yaml.safe_dump(roster))
    states = review(lambda room: room.wait("publish", "upstream_failed"))
    assert (states["open_review"], states["seat_1"]) == ("failed", "upstream_failed")


def test_a_dossier_that_was_changed_is_not_reviewed(bank: Bank, dossier: Dossier, review: Review) -> None:
    bank.store.put(f"dossiers/{dossier.digest}.json", dossier.to_bytes().replace(b'"flags":["', b'"flags":["no '))
    states = review(lambda room: room.wait("publish", "upstream_failed"))
    assert states["open_review"] == "failed"


def test_a_dossier_of_another_concept_is_not_reviewed(bank: Bank, dossier: Dossier, review: Review) -> None:
    states = review(lambda room: room.wait("publish", "upstream_failed"), concept="impeller", dossier=dossier.digest)
    assert states["open_review"] == "failed"
