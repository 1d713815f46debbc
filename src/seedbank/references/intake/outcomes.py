"""What became of each file that came in, and of a batch of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from pydantic import Field

from seedbank.records import DIGEST, Record

KEPT = 1000
"""How many outcomes of each kind a report holds; it counts them all."""

Kind = Literal["accepted", "waiting", "known", "quarantined"]


@dataclass(frozen=True)
class Outcome:
    """What became of one file, and why, in plain words.

    ``digest`` is the SHA-256 of its bytes; of a file that was never read, of its name and size.
    """

    kind: Kind
    name: str
    concept: str
    digest: str
    reason: str
    passing: bool = False
    """Whether the same file may be fine at the next scan, which therefore reads it again."""


class Quarantined(Record):
    """A file in quarantine. ``kept`` says whether its bytes lie under ``quarantine/bytes/<photo>``."""

    name: str
    concept: str
    photo: str = Field(pattern=DIGEST)
    reason: str
    size: int
    kept: bool


class Duplicate(Record):
    """A file with the bytes of a photo that is in the pool under another name."""

    name: str
    concept: str
    photo: str = Field(pattern=DIGEST)
    of: str


@dataclass(frozen=True)
class IntakeReport:
    """What became of a batch.

    Attributes:
        accepted, waiting, known, quarantined: the files, in the order in which they were taken; no more than :data:`KEPT` of each.
        counts: how many there were of each kind.
        concepts: names of the concepts whose pools got something new, in alphabetical order.
        seen: names of the concepts that have photos in this batch.
        notes: what is wrong with rights tables as a whole, a line each.
    """

    accepted: tuple[Outcome, ...]
    waiting: tuple[Outcome, ...]
    known: tuple[Outcome, ...]
    quarantined: tuple[Outcome, ...]
    counts: Mapping[str, int]
    concepts: tuple[str, ...]
    seen: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class Tally:
    """Outcomes so far."""

    kept: dict[str, list[Outcome]] = field(default_factory=lambda: {kind: [] for kind in get_args(Kind)})
    counts: Counter[str] = field(default_factory=Counter)
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
        kinds = {kind: tuple(outcomes) for kind, outcomes in self.kept.items()}
        counts = {kind: self.counts[kind] for kind in kinds}
        return IntakeReport(
            **kinds, counts=counts, concepts=tuple(sorted(self.new)), seen=tuple(sorted(self.seen)), notes=notes
        )
