"""Every way in which an approval can be missing or forged, with real signatures on a real ledger."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from seedbank.errors import NotApproved, UnusableReferences, UsageError, VerificationError
from seedbank.evidence.signing import Signer, ensure_key
from seedbank.records import sha256
from seedbank.release.publish import publish
from seedbank.review.decisions import approved, settle
from seedbank.review.records import Decision, Dossier, decision_of, signed_decision
from seedbank.review.roster import Reviewer, load_roster
from support.trials import ROSTER, Made, answer, change_rights, make_bank, make_trial


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_trial(make_bank(tmp_path))


@pytest.fixture
def dossier(made: Made) -> Dossier:
    return made.dossier()


def person(made: Made, who: str) -> Reviewer:
    return load_roster(made.bank.settings.roster).reviewers[who]


def forge(
    made: Made, dossier: Dossier, seat: int, *, signer: Signer | None = None, on_ledger: bool = True, **changes: Any
) -> None:
    """Put a decision on record past every check of ``record_decision``, signed with the review key unless told otherwise."""
    fields: dict[str, Any] = {
        "dossier": dossier.digest,
        "concept": dossier.concept,
        "seat": seat,
        "reviewer": ("alice", "bob")[seat - 1],
        "name": ("Alice Example", "Bob Example")[seat - 1],
        "verdict": "publish",
        "reason": "looks like the part",
        "time": "2026-11-24T10:00:00+00:00",
        "scripted": False,
        "via": "test",
    }
    decision = Decision(**{**fields, **changes})
    envelope = (signer or ensure_key(made.bank.settings.keys, "review")).seal(decision.statement())
    made.bank.store.put(f"decisions/{dossier.digest}/{seat}.json", envelope)
    if on_ledger:
        made.bank.record(
            "decision.recorded",
            concept=dossier.concept,
            key=f"{dossier.digest}/{seat}",
            dossier=dossier.digest,
            envelope=sha256(envelope),
        )


def test_two_people_with_a_reason_approve(made: Made) -> None:
    dossier = made.approve()
    decisions = approved(made.bank, dossier).decisions
    assert [(item.seat, item.reviewer, item.name, item.verdict) for item in decisions] == [
        (1, "alice", "Alice Example", "publish"),
        (2, "bob", "Bob Example", "publish"),
    ]
    entries = list(made.bank.ledger.entries(event="decision.recorded"))
    assert [entry.data["reason"] for entry in entries] == ["looks like the part"] * 2


def test_the_helper_that_forges_makes_approvals_when_nothing_is_wrong(made: Made, dossier: Dossier) -> None:
    forge(made, dossier, 1)
    forge(made, dossier, 2)
    assert len(approved(made.bank, dossier).signed) == 2


def test_the_same_answer_again_is_the_one_on_record(made: Made, dossier: Dossier) -> None:
    first = answer(made.bank, dossier.digest, 1, person(made, "alice"))
    assert answer(made.bank, dossier.digest, 1, person(made, "alice")) == first
    assert len(list(made.bank.ledger.entries(event="decision.recorded"))) == 1


def test_an_answer_that_was_killed_before_the_ledger_is_finished(made: Made, dossier: Dossier) -> None:
    forge(made, dossier, 1, on_ledger=False)
    forge(made, dossier, 2)
    answer(made.bank, dossier.digest, 1, person(made, "alice"))
    assert approved(made.bank, dossier)


def test_a_stored_decision_is_settled_once(made: Made, dossier: Dossier) -> None:
    forge(made, dossier, 1, on_ledger=False)
    forge(made, dossier, 2)
    signed = signed_decision(made.bank, dossier.digest, 1)
    assert signed
    settle(made.bank, signed)
    settle(made.bank, signed)
    assert approved(made.bank, dossier).signed[0] == signed
    assert len(list(made.bank.ledger.entries(event="decision.recorded"))) == 2


def test_scripted_answers_say_so(made: Made) -> None:
    dossier = made.approve(scripted=True)
    assert all(item.scripted for item in approved(made.bank, dossier).decisions)
    assert all(entry.data["scripted"] for entry in made.bank.ledger.entries(event="decision.recorded"))


def test_a_seat_without_an_answer_has_none(made: Made, dossier: Dossier) -> None:
    assert decision_of(made.bank, dossier.digest, 1) is None


class TestRecording:
    def test_a_seat_answers_once(self, made: Made, dossier: Dossier) -> None:
        answer(made.bank, dossier.digest, 1, person(made, "alice"), verdict="reject")
        with pytest.raises(NotApproved, match=r"seat 1 has answered .* already \(alice: reject\); an answer stands"):
            answer(made.bank, dossier.digest, 1, person(made, "alice"))
        with pytest.raises(NotApproved, match="an answer stands"):
            answer(made.bank, dossier.digest, 1, person(made, "carol"))

    def test_nobody_sits_twice(self, made: Made, dossier: Dossier) -> None:
        answer(made.bank, dossier.digest, 1, person(made, "alice"))
        with pytest.raises(NotApproved, match="expected 2 different people, got alice and alice"):
            answer(made.bank, dossier.digest, 2, person(made, "alice"))

    @pytest.mark.parametrize(
        ("reviewer", "words"),
        [
            (Reviewer(id="mia", name="Mia"), "mia asked for wingnut"),
            (Reviewer(id="7", name="mia"), "7 asked for wingnut"),
            (Reviewer(id="mallory", name="Mallory"), "mallory is not on the roster; alice, bob, carol may"),
        ],
    )
    def test_not_everybody_may_answer(self, made: Made, dossier: Dossier, reviewer: Reviewer, words: str) -> None:
        with pytest.raises(NotApproved, match=words):
            answer(made.bank, dossier.digest, 1, reviewer)
        assert decision_of(made.bank, dossier.digest, 1) is None

    @pytest.mark.parametrize("changes", [{"reason": " ok  "}, {"reason": ""}, {"seat": 3}, {"seat": 0}])
    def test_an_answer_needs_a_seat_and_a_reason(self, made: Made, dossier: Dossier, changes: dict[str, Any]) -> None:
        fields = {"seat": 1, **changes}
        with pytest.raises(UsageError, match="expected a seat from 1 to 2 and a reason of at least 5 characters"):
            answer(made.bank, dossier.digest, fields.pop("seat"), person(made, "alice"), **fields)

    def test_nobody_says_publish_once_rights_have_expired(self, made: Made, dossier: Dossier) -> None:
        change_rights(made, expires=date(2026, 6, 1))
        for today, holds in ((date(2026, 6, 2), False), (date(2026, 6, 1), True)):
            if not holds:
                with pytest.raises(
                    UnusableReferences, match=r"wingnut-0.jpg: rights expired on 2026-06-01: sam can renew"
                ):
                    answer(made.bank, dossier.digest, 1, person(made, "alice"), today=today)
                assert decision_of(made.bank, dossier.digest, 1) is None
            else:
                answer(made.bank, dossier.digest, 1, person(made, "alice"), today=today)
        assert decision_of(made.bank, dossier.digest, 1)

    def test_anybody_may_reject_whatever_the_rights(self, made: Made, dossier: Dossier) -> None:
        change_rights(made, expires=date(2026, 6, 1))
        said = answer(made.bank, dossier.digest, 1, person(made, "alice"), verdict="reject", today=date(2026, 6, 2))
        assert said.verdict == "reject"

    def test_an_answer_on_record_stays_when_rights_expire_later(self, made: Made, dossier: Dossier) -> None:
        first = answer(made.bank, dossier.digest, 1, person(made, "alice"), today=date(2026, 6, 1))
        change_rights(made, expires=date(2026, 6, 1))
        assert answer(made.bank, dossier.digest, 1, person(made, "alice"), today=date(2026, 6, 2)) == first

    def test_an_unknown_dossier(self, made: Made) -> None:
        with pytest.raises(UsageError, match="no dossier"):
            answer(made.bank, "0" * 64, 1, person(made, "alice"))


class TestNotApproved:
    def refused(self, made: Made, dossier: Dossier, words: str) -> None:
        with pytest.raises(NotApproved, match=words):
            approved(made.bank, dossier)

    @pytest.mark.parametrize("seat", [1, 2])
    def test_a_seat_is_missing(self, made: Made, dossier: Dossier, seat: int) -> None:
        forge(made, dossier, 3 - seat)
        self.refused(made, dossier, f"seat {seat} has not answered")

    def test_a_rejection(self, made: Made, dossier: Dossier) -> None:
        forge(made, dossier, 1)
        forge(made, dossier, 2, verdict="reject", reason="wings are missing")
        self.refused(made, dossier, r"Bob Example \(seat 2\) rejected dossier .*: wings are missing")

    def test_one_person_on_both_seats(self, made: Made, dossier: Dossier) -> None:
        forge(made, dossier, 1)
        forge(made, dossier, 2, reviewer="alice")
        self.refused(made, dossier, "expected 2 different people, got alice and alice")

    def test_the_requester(self, made: Made, dossier: Dossier) -> None:
        people = {**ROSTER, "mia": {"name": "Mia"}}
        made.bank.settings.roster.write_text(yaml.safe_dump({"reviewers": people}))
        forge(made, dossier, 1)
        forge(made, dossier, 2, reviewer="mia")
        self.refused(made, dossier, "mia asked for wingnut and so cannot review it")

    def test_somebody_who_is_not_on_the_roster_any_more(self, made: Made, dossier: Dossier) -> None:
        made.approve()
        left = {who: fields for who, fields in ROSTER.items() if who != "bob"}
        made.bank.settings.roster.write_text(yaml.safe_dump({"reviewers": left}))
        self.refused(made, dossier, "bob is not on the roster")

    def test_no_roster(self, made: Made, dossier: Dossier) -> None:
        made.approve()
        made.bank.settings.roster.unlink()
        self.refused(made, dossier, "expected a roster")

    def test_no_reason(self, made: Made, dossier: Dossier) -> None:
        forge(made, dossier, 1)
        forge(made, dossier, 2, reason="  ok ")
        self.refused(made, dossier, "expected a reason of at least 5 characters from Bob Example")

    def test_signed_with_another_key(self, made: Made, dossier: Dossier, tmp_path: Path) -> None:
        forge(made, dossier, 1)
        forge(made, dossier, 2, signer=ensure_key(tmp_path / "mallory", "review"))
        self.refused(made, dossier, "another key signed it")

    def test_not_signed_at_all(self, made: Made, dossier: Dossier) -> None:
        made.approve()
        decision = decision_of(made.bank, dossier.digest, 2)
        assert decision
        made.bank.store.put(f"decisions/{dossier.digest}/2.json", decision.to_bytes())
        self.refused(made, dossier, "expected a DSSE envelope")

    def test_about_another_dossier(self, made: Made, dossier: Dossier) -> None:
        other = make_trial(made.bank, number=1).approve()
        forge(made, dossier, 1)
        made.bank.store.put(
            f"decisions/{dossier.digest}/2.json", made.bank.store.get(f"decisions/{other.digest}/2.json")
        )
        self.refused(made, dossier, "it was copied there")

    def test_the_other_seats_answer(self, made: Made, dossier: Dossier) -> None:
        forge(made, dossier, 1)
        made.bank.store.put(
            f"decisions/{dossier.digest}/2.json", made.bank.store.get(f"decisions/{dossier.digest}/1.json")
        )
        self.refused(made, dossier, "expected the decision of seat 2")

    def test_not_on_the_ledger(self, made: Made, dossier: Dossier) -> None:
        forge(made, dossier, 1)
        forge(made, dossier, 2, on_ledger=False)
        self.refused(made, dossier, "seat 2 .* is not on the ledger")

    def test_another_envelope_than_the_ledgers(self, made: Made, dossier: Dossier) -> None:
        made.approve()
        forge(made, dossier, 2, on_ledger=False, reason="a kinder reason")
        self.refused(made, dossier, "is not on the ledger")

    def test_a_ledger_that_was_cut_open(self, made: Made, dossier: Dossier) -> None:
        made.approve()
        made.bank.store.delete("ledger/0000000003.json")
        self.refused(made, dossier, "an entry was removed or moved")

    def test_a_dossier_that_was_never_frozen(self, made: Made, dossier: Dossier) -> None:
        invented = dossier.model_copy(update={"flags": ()})
        made.bank.store.put(f"dossiers/{invented.digest}.json", invented.to_bytes())
        forge(made, invented, 1)
        forge(made, invented, 2)
        self.refused(made, invented, "was never frozen")

    def test_the_review_key_is_gone(self, made: Made, dossier: Dossier) -> None:
        made.approve()
        (made.bank.settings.keys / "review.pub").unlink()
        self.refused(made, dossier, "expected a public key")

    def test_a_dossier_that_was_changed(self, made: Made, dossier: Dossier) -> None:
        made.approve()
        made.bank.store.put(f"dossiers/{dossier.digest}.json", dossier.model_copy(update={"prompt": "x"}).to_bytes())
        with pytest.raises(VerificationError, match="the object was changed"):
            publish(made.bank, dossier.digest)
        assert not list(made.bank.store.keys("releases/"))


def test_a_signed_statement_about_something_else_is_no_decision(made: Made, dossier: Dossier) -> None:
    forge(made, dossier, 1)
    decision = decision_of(made.bank, dossier.digest, 1)
    assert decision
    statement = decision.statement()
    with pytest.raises(VerificationError, match="a statement about something else"):
        Decision.from_statement(statement.model_copy(update={"predicate_type": "urn:other"}))
