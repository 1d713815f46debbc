"""Where each concept stands, told by the ledger alone: no database, no task state, no folder is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from seedbank.bank import Bank
from seedbank.concepts import NAME_PATTERN
from seedbank.evidence.ledger import Entry
from seedbank.review.roster import SEATS

Stage = Literal[
    "photos in",
    "photos refused",
    "set frozen",
    "searching",
    "unreachable",
    "searched",
    "waiting for review",
    "rejected",
    "approved",
    "released",
]

NEXT: dict[Stage, str] = {
    "photos in": "seedbank validate {concept}",
    "photos refused": "take better photos, then seedbank intake",
    "set frozen": "seedbank optimise {concept}",
    "searching": "wait; if the search was killed, seedbank optimise {concept} goes on with it",
    "unreachable": "fine-tune the model or choose another; see seedbank diagnose {concept}",
    "searched": "seedbank review {concept}",
    "waiting for review": "answer in Airflow, dag release_review",
    "rejected": "change the photos or the concept file, then seedbank optimise {concept}",
    "approved": "seedbank release {concept}",
    "released": "seedbank verify {concept}",
}
"""What a person does next, by stage."""


@dataclass(frozen=True)
class ConceptStatus:
    """Where one concept stands."""

    concept: str
    stage: Stage
    since: str
    """UTC, ISO 8601 with seconds: time of the entry that brought it there."""
    detail: str
    next_step: str
    answers: int
    """How many of the two seats have answered on the newest dossier."""


def status(bank: Bank) -> list[ConceptStatus]:
    """Where each concept of the ledger stands, in alphabetical order."""
    stories: dict[str, list[Entry]] = {}
    for entry in bank.ledger.entries():
        if re.fullmatch(NAME_PATTERN, entry.concept):
            stories.setdefault(entry.concept, []).append(entry)
    return [concept_status(concept, stories[concept]) for concept in sorted(stories)]


def concept_status(concept: str, entries: Iterable[Entry]) -> ConceptStatus:
    """Where ``concept`` stands after ``entries``, all of them about it and in order."""
    story = _Story()
    for entry in entries:
        story.tell(entry)
    news = f"; photos that came in since: {story.fresh}" if story.fresh and story.stage != "photos in" else ""
    next_step = NEXT[story.stage].format(concept=concept)
    return ConceptStatus(concept, story.stage, story.since, story.detail + news, next_step, len(story.answered))


@dataclass
class _Story:
    """What the entries so far amount to."""

    stage: Stage = "photos refused"
    since: str = ""
    detail: str = "no usable photo yet"
    photos: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    copies: int = 0
    fresh: int = 0
    dossier: str = ""
    answered: set[int] = field(default_factory=set)

    def tell(self, entry: Entry) -> None:
        """Take in the next entry."""
        data = entry.data
        match entry.event:
            case "intake.accepted":
                self._accepted(entry)
            case "photo.waiting" | "photo.duplicate" | "intake.quarantined":
                self._kept_out(entry)
            case "references.validated":
                self.fresh = 0
                self._move("set frozen", entry, f"reference set {_short(data.get('reference_set') or data.get('key'))}")
            case "references.refused":
                self.fresh = 0
                self._move("photos refused", entry, str(data.get("reason", "")))
            case "trial.started":
                self._move("searching", entry, f"trial {_short(data.get('key'))}")
            case "trial.finished":
                found = f", {data['accepted']} of {data['candidates']} accepted" if "accepted" in data else ""
                self._move("searched", entry, f"trial {_short(data.get('key'))}{found}")
            case "trial.unreachable":
                self._move("unreachable", entry, str(data.get("advice", "no seed of this model draws it")))
            case "dossier.frozen":
                self.dossier, self.answered = str(data.get("key")), set()
                self._move("waiting for review", entry, f"dossier {_short(self.dossier)}, 0 of {SEATS} answers")
            case "decision.recorded":
                self._decided(entry)
            case "release.published":
                self._move(
                    "released",
                    entry,
                    str(data.get("folder", "")) + (", review scripted" if data.get("scripted") else ""),
                )

    def _accepted(self, entry: Entry) -> None:
        photo = _photo(entry)
        self.photos.add(photo)
        self.waiting.discard(photo)
        self.bad.discard(photo)
        self.fresh += 1
        if self.stage in ("photos in", "photos refused"):
            self._move("photos in", entry, self._photos())

    def _kept_out(self, entry: Entry) -> None:
        if entry.event == "photo.duplicate":
            self.copies += 1
        else:
            (self.bad if entry.event == "intake.quarantined" else self.waiting).add(_photo(entry))
        if not self.since or self.stage == "photos in":
            self._move(self.stage, entry, self._photos())

    def _photos(self) -> str:
        words = [f"{len(self.photos)} accepted", f"{len(self.bad)} in quarantine"]
        words += [f"{len(self.waiting)} waiting for consent"] if self.waiting else []
        words += [f"{self.copies} exact duplicate{'s' if self.copies > 1 else ''}"] if self.copies else []
        return ", ".join(words)

    def _decided(self, entry: Entry) -> None:
        data = entry.data
        if data.get("dossier") != self.dossier or self.stage == "released":
            return
        self.answered.add(int(data["seat"]))
        if data.get("verdict") != "publish":
            self._move("rejected", entry, f"by {data.get('reviewer')}: {data.get('reason')}")
        elif self.stage != "rejected":
            stage: Stage = "approved" if len(self.answered) == SEATS else "waiting for review"
            self._move(stage, entry, f"dossier {_short(self.dossier)}, {len(self.answered)} of {SEATS} answers")

    def _move(self, stage: Stage, entry: Entry, detail: str) -> None:
        self.stage, self.since, self.detail = stage, entry.time, detail


def _photo(entry: Entry) -> str:
    return str(entry.data.get("photo") or entry.number)


def _short(digest: object) -> str:
    return str(digest)[:12]
