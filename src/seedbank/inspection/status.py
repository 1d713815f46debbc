"""Where each concept stands, by the ledger alone: no database, no task state, no folder is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from seedbank.bank import Bank
from seedbank.concepts import NAME_PATTERN
from seedbank.evidence.ledger import Entry
from seedbank.evidence.requests import asked_as
from seedbank.review.roster import SEATS

Stage = Literal[
    "photos in",
    "photos refused",
    "set frozen",
    "searching",
    "unreachable",
    "nothing accepted",
    "searched",
    "waiting for review",
    "rejected",
    "reviewer asked",
    "approved",
    "released",
]

NEXT: dict[Stage, str] = {
    "photos in": "seedbank validate {concept}",
    "photos refused": "take better photos, then seedbank intake FOLDER",
    "set frozen": "seedbank optimise {concept}",
    "searching": "wait; if the search was killed, seedbank optimise {concept} goes on with it",
    "unreachable": "fine-tune the model or choose another; seedbank diagnose {concept} says how far away it is",
    "nothing accepted": (
        "raise policy.selection.candidates in the concept file or take in more photos (seedbank intake FOLDER, "
        "seedbank validate {concept}), then seedbank optimise {concept}; seedbank diagnose {concept} says what to expect"
    ),
    "searched": "seedbank review {concept}",
    "waiting for review": "answer in Airflow; where nothing is asked there, trigger release_review with partition key {concept}",
    "rejected": (
        "change the concept file or take in other photos (seedbank intake FOLDER, seedbank validate {concept}), "
        "then seedbank optimise {concept}"
    ),
    "reviewer asked": (
        "have it searched anew (another seed in the concept file, then seedbank optimise {concept}) and reviewed by others"
    ),
    "approved": "seedbank release {concept}",
    "released": "seedbank verify {concept}",
}
"""What a person does next, by stage. A command named here does its work at that stage."""


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
        # Files of no concept are on record under `_unsorted`, which no concept can be called.
        if re.fullmatch(NAME_PATTERN, entry.concept):
            stories.setdefault(entry.concept, []).append(entry)
    return [concept_status(concept, stories[concept]) for concept in sorted(stories)]


def concept_status(concept: str, entries: Iterable[Entry]) -> ConceptStatus:
    """Where ``concept`` stands after ``entries``, all of them about it and in order."""
    story = _Story()
    for entry in entries:
        story.take(entry)
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
    judged: bool = False
    dossier: str = ""
    answered: dict[int, frozenset[str]] = field(default_factory=dict)
    """Seats of the newest dossier that have answered, and what those who sit there are called."""
    asked: set[str] = field(default_factory=set)

    def take(self, entry: Entry) -> None:
        """Take in the next entry."""
        data = entry.data
        match entry.event:
            case "intake.accepted":
                self._accepted(entry)
            case "photo.waiting" | "photo.duplicate" | "intake.quarantined":
                self._kept_out(entry)
            case "references.validated":
                self.fresh, self.judged = 0, True
                self._move("set frozen", entry, f"reference set {_short(data.get('reference_set') or data.get('key'))}")
            case "references.refused":
                self.fresh, self.judged = 0, True
                self._move("photos refused", entry, str(data.get("reason", "")))
            case "trial.started":
                self._move("searching", entry, f"trial {_short(data.get('key'))}")
            case "trial.finished":
                found = f"{data['accepted']} of {data['candidates']} accepted"
                self._move(
                    "searched" if data["accepted"] else "nothing accepted",
                    entry,
                    f"trial {_short(data['key'])}, {found}",
                )
            case "trial.unreachable":
                self._move("unreachable", entry, str(data.get("advice", "no seed of this model draws it")))
            case "dossier.frozen":
                self.dossier, self.answered = str(data.get("key")), {}
                self._move("waiting for review", entry, f"dossier {_short(self.dossier)}, 0 of {SEATS} answers")
            case "decision.recorded":
                self._decided(entry)
            case "release.published":
                self._move(
                    "released",
                    entry,
                    str(data.get("folder", "")) + (", review scripted" if data.get("scripted") else ""),
                )
            case _ if entry.event.startswith("request."):
                self._requested(entry)

    def _accepted(self, entry: Entry) -> None:
        photo = _photo(entry)
        self.photos.add(photo)
        self.waiting.discard(photo)
        self.bad.discard(photo)
        self.fresh += 1
        # Later stages stay: new photos change nothing that is frozen, they are only told of.
        if self.stage in ("photos in", "photos refused"):
            self._move("photos in", entry, self._photos())

    def _kept_out(self, entry: Entry) -> None:
        if entry.event == "photo.duplicate":
            self.copies += 1
        else:
            (self.bad if entry.event == "intake.quarantined" else self.waiting).add(_photo(entry))
        # Once a set was refused, that refusal is the news until a photo is accepted.
        if self.stage == "photos in" or (self.stage == "photos refused" and not self.judged):
            self._move(self.stage, entry, self._photos())

    def _photos(self) -> str:
        words = [f"{len(self.photos)} accepted", f"{len(self.bad)} in quarantine"]
        words += [f"{len(self.waiting)} waiting for consent"] if self.waiting else []
        words += [f"{self.copies} exact duplicate{'s' if self.copies > 1 else ''}"] if self.copies else []
        return ", ".join(words)

    def _decided(self, entry: Entry) -> None:
        data = entry.data
        # An answer about an older dossier, or one put on record late, moves nothing.
        if data.get("dossier") != self.dossier or self.stage == "released":
            return
        self.answered[int(data["seat"])] = frozenset({str(data.get("reviewer")), str(data.get("login", ""))})
        if data.get("verdict") != "publish":
            self._move("rejected", entry, f"by {data.get('reviewer')}: {data.get('reason')}")
        # One no is final, whatever the other seat says.
        elif self.stage != "rejected":
            stage: Stage = "approved" if len(self.answered) == SEATS else "waiting for review"
            self._move(stage, entry, f"dossier {_short(self.dossier)}, {len(self.answered)} of {SEATS} answers")

    def _requested(self, entry: Entry) -> None:
        """Whoever asks after they have answered takes their answer's worth away."""
        self.since = self.since or entry.time
        self.asked.update(entry.data["requested_by"])
        if self.stage in ("waiting for review", "approved"):
            for names in self.answered.values():
                if name := asked_as(names, self.asked):
                    self._move(
                        "reviewer asked", entry, f"{name} answered on dossier {_short(self.dossier)} and asked for it"
                    )

    def _move(self, stage: Stage, entry: Entry, detail: str) -> None:
        self.stage, self.since, self.detail = stage, entry.time, detail


def _photo(entry: Entry) -> str:
    return str(entry.data.get("photo") or entry.number)


def _short(digest: object) -> str:
    return str(digest)[:12]
