"""The ledger retold: stages and sentences."""

from __future__ import annotations

from typing import Any

import pytest

from seedbank.demo.story import has_ended, left_out, news, next_dag, sentence
from seedbank.evidence.ledger import GENESIS, Entry
from seedbank.references.records import Assessment, ReferenceSet


def entry(event: str, number: int = 1, **data: Any) -> Entry:
    return Entry(
        number=number,
        previous=GENESIS,
        time="2026-11-24T00:00:00+00:00",
        actor="airflow:x",
        event=event,
        concept="wingnut",
        data=data,
    )


PHOTO, BAD = entry("intake.accepted", name="a"), entry("intake.quarantined", name="b", reason="torn")
REFUSED, FROZEN = entry("references.refused", reason="3 photos"), entry("references.validated", key="a" * 64)
FOUND = entry("trial.finished", key="b" * 64, accepted=3, candidates=8)
UNREACHABLE = entry("trial.unreachable", advice="try a LoRA")
DOSSIER = entry("dossier.frozen", key="c" * 64)
RELEASED = entry("release.published", folder="releases/x")


def answer(seat: int, verdict: str = "publish") -> Entry:
    return entry("decision.recorded", dossier="c" * 64, seat=seat, verdict=verdict, reviewer="alice", reason="sharp")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], "reference_intake"),
        ([BAD], "reference_intake"),
        ([BAD, PHOTO], "reference_intake"),
        ([PHOTO, REFUSED], None),
        ([PHOTO, REFUSED, PHOTO], "reference_intake"),
        ([PHOTO, FROZEN], "seed_optimisation"),
        ([PHOTO, FROZEN, entry("trial.started", key="b" * 64)], "seed_optimisation"),
        ([PHOTO, FROZEN, FOUND], "seed_optimisation"),
        ([PHOTO, FROZEN, UNREACHABLE], None),
        ([PHOTO, FROZEN, FOUND, DOSSIER], "release_review"),
        ([PHOTO, FROZEN, FOUND, DOSSIER, answer(1)], "release_review"),
        ([PHOTO, FROZEN, FOUND, DOSSIER, answer(1), answer(2)], "release_review"),
        ([PHOTO, FROZEN, FOUND, DOSSIER, answer(1, "reject")], None),
        ([PHOTO, FROZEN, FOUND, DOSSIER, answer(1), answer(2), RELEASED], None),
    ],
)
def test_the_next_dag_follows_from_the_ledger(entries: list[Entry], expected: str | None) -> None:
    assert next_dag(entries) == expected
    assert has_ended(entries) is (expected is None)


@pytest.mark.parametrize(
    ("event", "data", "expected"),
    [
        ("intake.accepted", {"name": "a.jpg"}, "wingnut: accepted a.jpg"),
        ("intake.quarantined", {"name": "b.jpg", "reason": "truncated"}, "wingnut: quarantined b.jpg: truncated"),
        (
            "photo.duplicate",
            {"name": "c.jpg", "of": "a.jpg"},
            "wingnut: left out c.jpg: an exact duplicate of a.jpg",
        ),
        (
            "photo.waiting",
            {"name": "d.jpg", "reason": "waits: it shows what may be a face"},
            "wingnut: d.jpg waits: it shows what may be a face",
        ),
        (
            "decision.recorded",
            {"seat": 1, "reviewer": "alice", "verdict": "publish", "reason": "sharp", "scripted": False},
            "wingnut: seat 1: alice says publish (sharp)",
        ),
        (
            "decision.recorded",
            {"seat": 2, "reviewer": "bob", "verdict": "publish", "reason": "script", "scripted": True},
            "wingnut: seat 2: a script in the name of bob says publish (script)",
        ),
        (
            "references.validated",
            {"key": "ab" * 32, "photos": 8},
            "wingnut: reference set abababababab frozen: 8 photos",
        ),
        (
            "trial.finished",
            {"key": "ab" * 32, "accepted": 7, "candidates": 8},
            "wingnut: search finished, the guard accepts 7 of 8 candidates",
        ),
        ("withdrawal.asked", {}, "wingnut: withdrawal.asked"),
    ],
)
def test_a_sentence_says_who_what_and_why(event: str, data: dict[str, Any], expected: str) -> None:
    assert sentence(entry(event, **data)) == expected


def test_photos_that_are_left_out_are_told_with_their_reasons() -> None:
    assessments = (
        Assessment(photo="a" * 64, name="good.jpg", chosen=True, reasons=(), measures={}),
        Assessment(photo="b" * 64, name="soft.jpg", chosen=False, reasons=("too blurred", "too dark"), measures={}),
    )
    frozen = ReferenceSet(
        concept="wingnut",
        concept_digest="c" * 64,
        references=(),
        assessments=assessments,
        measures={},
        validation="d" * 64,
    )
    assert left_out(frozen) == ["wingnut: left out soft.jpg: too blurred; too dark"]


def test_accepted_photos_are_told_together_and_nothing_else_is() -> None:
    names = ["a", "b"]
    accepted = [entry("intake.accepted", number, name=name) for number, name in enumerate(names, 1)]
    refused = [entry("intake.quarantined", number, name=name, reason="torn") for number, name in enumerate(names, 3)]
    told = [sentence(*group) for group in news([*accepted, *refused])]
    assert told == ["wingnut: accepted 2 photos", "wingnut: quarantined a: torn", "wingnut: quarantined b: torn"]
