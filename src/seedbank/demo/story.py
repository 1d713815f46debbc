"""The ledger retold: where a concept stands, and each entry as a sentence. Pure functions of ledger entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from seedbank.evidence.ledger import Entry
from seedbank.inspection.status import Stage, concept_status
from seedbank.references.records import ReferenceSet

INTAKE, SEARCH, REVIEW = DAGS = ("reference_intake", "seed_optimisation", "release_review")
"""The DAGs in the order of the work."""

ENDED: frozenset[Stage] = frozenset({"unreachable", "nothing accepted", "rejected", "reviewer asked", "released"})
"""Where nothing more happens by itself."""
_NEXT_DAG: dict[Stage, str] = {
    "photos refused": INTAKE,
    "photos in": INTAKE,
    "set frozen": SEARCH,
    "searching": SEARCH,
    "searched": SEARCH,
    "waiting for review": REVIEW,
    "approved": REVIEW,
}
_ASKED = {
    "request.intake": "take its photos in",
    "request.references": "judge its photos",
    "request.trial": "search for seeds",
    "request.expansion": "make more images of a find",
    "request.dossier": "put the finds before reviewers",
    "request.review": "open the review",
}


def has_ended(entries: Sequence[Entry]) -> bool:
    """Whether a concept has come to an end after ``entries``, all of them about it and in order."""
    stage = concept_status("", entries).stage
    judged = any(entry.event == "references.refused" for entry in entries)
    return stage in ENDED or (stage == "photos refused" and judged)


def next_dag(entries: Sequence[Entry]) -> str | None:
    """The DAG that takes a concept on from where it stands, or None at an end."""
    return None if has_ended(entries) else _NEXT_DAG[concept_status("", entries).stage]


def news(entries: Iterable[Entry]) -> list[list[Entry]]:
    """``entries`` in order, those that are told together in one list: photos of one concept that were accepted one after another."""
    together = groupby(entries, key=lambda entry: entry.concept if entry.event == "intake.accepted" else entry.number)
    return [list(group) for _, group in together]


def sentence(entry: Entry, *others: Entry) -> str:
    """What happened, for somebody who watches; ``others`` are of the same kind."""
    if others:
        return f"{entry.concept}: accepted {1 + len(others)} photos"
    return f"{entry.concept or 'intake'}: {_what(entry)}"


def left_out(references: ReferenceSet) -> list[str]:
    """What became of the photos that are not in the set, a sentence each."""
    out = (assessment for assessment in references.assessments if not assessment.chosen)
    return [f"{references.concept}: left out {assessment.name}: {'; '.join(assessment.lines)}" for assessment in out]


def _what(entry: Entry) -> str:
    data = entry.data
    match entry.event:
        case "intake.accepted":
            return f"accepted {_file(entry)}"
        case "photo.waiting":
            return f"{_file(entry)} {_reason(entry)}"
        case "photo.duplicate":
            return f"left out {_file(entry)}: an exact duplicate of {data.get('of')}"
        case "intake.quarantined":
            return f"quarantined {_file(entry)}: {_reason(entry)}"
        case "references.validated":
            return f"reference set {_short(data['key'])} frozen: {data.get('photos')} photos"
        case "references.refused":
            return f"photos refused: {_reason(entry)}"
        case "trial.started":
            return f"search for seeds started, trial {_short(data['key'])}"
        case "trial.finished":
            return f"search finished, the guard accepts {data.get('accepted')} of {data.get('candidates')} candidates"
        case "trial.unreachable":
            return f"no seed of this model draws it; {data.get('advice', '')}"
        case "dossier.frozen":
            return f"dossier {_short(data['key'])} frozen for review"
        case "decision.recorded":
            who = data.get("reviewer", entry.actor)
            how = "a script in the name of " if data.get("scripted") else ""
            return f"seat {data.get('seat')}: {how}{who} says {data.get('verdict')} ({_reason(entry)})"
        case "release.published":
            return "release published and signed"
        case event if event in _ASKED:
            return f"asked for by {', '.join(data['requested_by'])}: {_ASKED[event]}"
    return entry.event


def _file(entry: Entry) -> str:
    return str(entry.data.get("name") or _short(entry.data["key"]))


def _reason(entry: Entry) -> str:
    return str(entry.data.get("reason") or entry.data.get("advice") or "")


def _short(digest: object) -> str:
    return str(digest)[:12]
