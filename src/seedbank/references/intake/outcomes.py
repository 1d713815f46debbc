"""What became of each file that came in, and of all files of an intake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

KEPT = 1000
"""How many outcomes of each kind a report holds; it counts them all."""

OutcomeKind = Literal["accepted", "waiting", "known", "duplicate", "quarantined"]
"""``accepted``: new, or its rights changed. ``waiting``: among the concept's photos, but nobody has answered what its faces ask. ``known``:
taken in before, nothing has changed. ``duplicate``: the bytes of a photo that the concept has under another name. ``quarantined``: set
aside.
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one file.

    Attributes:
        kind: which of the five it was.
        name: the file's name, printable.
        concept: the concept under which it is written down.
        digest: SHA-256 of its bytes; of a file that was never read, of its name and size.
        reason: why, in plain words.
        passing: whether the same file may be fine at the next scan, which therefore reads it again.
    """

    kind: OutcomeKind
    name: str
    concept: str
    digest: str
    reason: str
    passing: bool = False


@dataclass(frozen=True, kw_only=True)
class IntakeReport:
    """What became of all files.

    Attributes:
        accepted, waiting, known, duplicate, quarantined: the files, in the order in which they were taken; at most :data:`KEPT` of each.
        counts: how many there were of each kind.
        concepts: names of the concepts that got something new, in alphabetical order.
        seen: names of the concepts that have photos here, in alphabetical order.
        notes: what is wrong with rights tables as a whole, a line each.
    """

    accepted: tuple[Outcome, ...]
    waiting: tuple[Outcome, ...]
    known: tuple[Outcome, ...]
    duplicate: tuple[Outcome, ...]
    quarantined: tuple[Outcome, ...]
    counts: Mapping[OutcomeKind, int]
    concepts: tuple[str, ...]
    seen: tuple[str, ...]
    notes: tuple[str, ...]

    def of_kind(self, kind: OutcomeKind) -> tuple[Outcome, ...]:
        """The files of one kind."""
        by_kind: dict[OutcomeKind, tuple[Outcome, ...]] = {
            "accepted": self.accepted,
            "waiting": self.waiting,
            "known": self.known,
            "duplicate": self.duplicate,
            "quarantined": self.quarantined,
        }
        return by_kind[kind]


@dataclass
class OutcomeCounter:
    """The outcomes so far."""

    kept: dict[OutcomeKind, list[Outcome]] = field(default_factory=lambda: {kind: [] for kind in get_args(OutcomeKind)})
    counts: Counter[OutcomeKind] = field(default_factory=Counter)
    new: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    def count(self, outcome: Outcome) -> None:
        """Count one more."""
        self.counts[outcome.kind] += 1
        if self.counts[outcome.kind] <= KEPT:
            self.kept[outcome.kind].append(outcome)
        if outcome.kind != "quarantined":
            self.seen.add(outcome.concept)
        if outcome.kind == "accepted":
            self.new.add(outcome.concept)

    def report(self, notes: tuple[str, ...]) -> IntakeReport:
        """All of it."""
        return IntakeReport(
            accepted=tuple(self.kept["accepted"]),
            waiting=tuple(self.kept["waiting"]),
            known=tuple(self.kept["known"]),
            duplicate=tuple(self.kept["duplicate"]),
            quarantined=tuple(self.kept["quarantined"]),
            counts={kind: self.counts[kind] for kind in self.kept},
            concepts=tuple(sorted(self.new)),
            seen=tuple(sorted(self.seen)),
            notes=notes,
        )
