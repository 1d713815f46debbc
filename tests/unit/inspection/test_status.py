from pathlib import Path
from typing import Any

import pytest

from seedbank.inspection.status import ConceptStatus, status
from seedbank.release.publish import publish
from seedbank.review.roster import load_roster
from support.trials import CONCEPT, Made, answer, make_bank, make_trial

Step = tuple[str, dict[str, Any]]
PHOTO: Step = ("intake.accepted", {"key": "p"})
BAD: Step = ("intake.quarantined", {"key": "q"})
WAITS: Step = ("photo.waiting", {"key": "w", "photo": "1"})
ANSWERED: Step = ("intake.accepted", {"key": "w2", "photo": "1"})
COPY: Step = ("photo.duplicate", {"key": "c", "photo": "1", "of": "a.jpg"})
SET: Step = ("references.validated", {"key": "a" * 64, "reference_set": "a" * 64})
REFUSED: Step = ("references.refused", {"key": "b" * 64, "reason": "too few photos"})
STARTED: Step = ("trial.started", {"key": "c" * 64})
FINISHED: Step = ("trial.finished", {"key": "c" * 64, "candidates": 8, "accepted": 6})
NOTHING: Step = ("trial.finished", {"key": "c" * 64, "candidates": 8, "accepted": 0})
ASKS: Step = ("request.trial", {"key": "r", "subject": "s", "requested_by": ["alice"]})
NEVER: Step = ("trial.unreachable", {"key": "c" * 64, "advice": "try LoRA"})
DOSSIER: Step = ("dossier.frozen", {"key": "d" * 64})
NEWER: Step = ("dossier.frozen", {"key": "e" * 64})
RELEASED: Step = ("release.published", {"key": "d" * 64, "folder": "releases/wingnut/dddd", "scripted": True})


def seat(number: int, verdict: str = "publish", dossier: str = "d" * 64) -> Step:
    fields = {"seat": number, "verdict": verdict, "reviewer": "alice", "reason": "wings missing", "dossier": dossier}
    return "decision.recorded", {"key": f"{dossier}/{number}", **fields}


def stand(tmp_path: Path, *story: Step) -> ConceptStatus:
    bank = make_bank(tmp_path)
    for event, data in story:
        bank.record(event, concept=CONCEPT, **data)
    (found,) = status(bank)
    return found


@pytest.mark.parametrize(
    ("story", "stage", "detail", "next_step"),
    [
        ([BAD], "photos refused", "0 accepted, 1 in quarantine", "seedbank intake"),
        ([BAD, PHOTO, PHOTO, BAD], "photos in", "2 accepted, 2 in quarantine", "seedbank validate wingnut"),
        ([WAITS], "photos refused", "0 accepted, 0 in quarantine, 1 waiting for consent", "seedbank intake"),
        ([WAITS, WAITS, ANSWERED], "photos in", "1 accepted, 0 in quarantine", "seedbank validate wingnut"),
        ([PHOTO, COPY, COPY], "photos in", "1 accepted, 0 in quarantine, 2 exact duplicates", "seedbank validate"),
        ([PHOTO, REFUSED], "photos refused", "too few photos", "seedbank intake"),
        ([PHOTO, REFUSED, PHOTO], "photos in", "2 accepted", "seedbank validate wingnut"),
        ([PHOTO, SET], "set frozen", "reference set aaaaaaaaaaaa", "seedbank optimise wingnut"),
        ([PHOTO, SET, PHOTO], "set frozen", "photos that came in since: 1", "seedbank optimise wingnut"),
        ([SET, STARTED], "searching", "trial cccccccccccc", "seedbank optimise wingnut goes on"),
        ([SET, STARTED, NEVER], "unreachable", "try LoRA", "fine-tune"),
        ([SET, STARTED, FINISHED], "searched", "6 of 8 accepted", "seedbank review wingnut"),
        ([SET, STARTED, NOTHING], "nothing accepted", "0 of 8 accepted", "then seedbank optimise wingnut"),
        ([FINISHED, DOSSIER, NOTHING], "nothing accepted", "0 of 8 accepted", "seedbank diagnose wingnut"),
        ([DOSSIER, seat(1), ASKS], "reviewer asked", "alice answered on dossier dddddddddddd and asked", "by others"),
        ([DOSSIER, seat(1), seat(2), ASKS], "reviewer asked", "alice answered", "then seedbank optimise wingnut"),
        ([DOSSIER, seat(1), seat(2), RELEASED, ASKS], "released", "releases/wingnut/dddd", "seedbank verify wingnut"),
        ([ASKS, BAD], "photos refused", "0 accepted, 1 in quarantine", "seedbank intake FOLDER"),
        ([ASKS], "photos refused", "no usable photo yet", "seedbank intake FOLDER"),
        ([FINISHED, DOSSIER], "waiting for review", "0 of 2 answers", "release_review"),
        ([DOSSIER, seat(1)], "waiting for review", "1 of 2 answers", "release_review"),
        ([DOSSIER, seat(1), seat(2)], "approved", "2 of 2 answers", "seedbank release wingnut"),
        ([DOSSIER, seat(1, "reject")], "rejected", "by alice: wings missing", "seedbank optimise wingnut"),
        ([DOSSIER, seat(1, "reject"), seat(2)], "rejected", "by alice: wings missing", "seedbank optimise wingnut"),
        (
            [DOSSIER, seat(1), NEWER, seat(2)],
            "waiting for review",
            "dossier eeeeeeeeeeee, 0 of 2 answers",
            "release_review",
        ),
        (
            [DOSSIER, seat(1), seat(2), RELEASED],
            "released",
            "releases/wingnut/dddd, review scripted",
            "seedbank verify wingnut",
        ),
    ],
)
def test_where_a_concept_stands(tmp_path: Path, story: list[Step], stage: str, detail: str, next_step: str) -> None:
    found = stand(tmp_path, *story)
    assert found.stage == stage
    assert detail in found.detail
    assert next_step in found.next_step
    assert found.since


def test_a_real_way_from_photos_to_release(tmp_path: Path) -> None:
    made: Made = make_trial(make_bank(tmp_path))
    seen = [stage_of(made)]
    dossier, people = made.dossier(), load_roster(made.bank.settings.roster).reviewers
    for number, who in ((1, "alice"), (2, "bob")):
        seen.append(stage_of(made))
        answer(made.bank, dossier.digest, number, people[who])
    seen.append(stage_of(made))
    publish(made.bank, dossier.digest)
    seen.append(stage_of(made))
    assert seen == [
        ("searched", 0),
        ("waiting for review", 0),
        ("waiting for review", 1),
        ("approved", 2),
        ("released", 2),
    ]


def stage_of(made: Made) -> tuple[str, int]:
    (found,) = status(made.bank)
    return found.stage, found.answers


def test_only_concepts_are_listed_in_order(tmp_path: Path) -> None:
    bank = make_bank(tmp_path)
    for concept in ("wingnut", "impeller", "_unsorted", ""):
        bank.record("intake.quarantined", concept=concept, key="k")
    assert [found.concept for found in status(bank)] == ["impeller", "wingnut"]
