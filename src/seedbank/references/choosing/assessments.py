"""Verdicts: why each photo of a pool is in the set or out, in plain words with the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbank.references.judging.measured_photos import Choice, Floats, MeasuredPhotos, numbers
from seedbank.references.judging.suite_runner import Check
from seedbank.references.judging.suites import ROWS, Suite
from seedbank.references.records import Assessment

NOTHING = 0.0005
"""A share that is told as nothing: it would read 0.0 %."""
NAMED = 3
"""Photos that are named in a sentence; of more, only the number is told."""


def assess(pool: MeasuredPhotos, suite: Suite, checks: Sequence[Check], choice: Choice) -> tuple[Assessment, ...]:
    """Why each photo is in or out, in the order of the pool's rows.

    Args:
        pool: the measured pool.
        suite: the rules of the photos.
        checks: how they came out.
        choice: the chosen photos.
    """
    teller = _Teller(pool, suite, checks, choice)
    return tuple(
        Assessment(
            photo=row["photo"],
            name=row["name"],
            chosen=place in teller.rank,
            reasons=teller.reasons(place),
            measures=numbers(row),
        )
        for place, row in enumerate(pool.rows)
    )


def explain(suite: Suite, checks: Sequence[Check], row: Mapping[str, Any], severity: str) -> list[str]:
    """The words for every check of this severity that ``row`` broke."""
    return [
        suite.rules[check.rule].explain(row)
        for check in checks
        if check.severity == severity and row["photo"] in check.broken_by
    ]


def explain_rows(suite: Suite, checks: Sequence[Check], count: int) -> list[str]:
    """The words for every check on the number of rows that a table with ``count`` of them broke."""
    return [
        suite.rules[check.rule].explain({"": float(count)})
        for check in checks
        if check.expectation == ROWS and not check.success
    ]


def broken_by(checks: Sequence[Check], severity: str) -> set[str]:
    """The photos that broke a check of this severity."""
    return {photo for check in checks if check.severity == severity for photo in check.broken_by}


@dataclass(frozen=True)
class _Teller:
    """Tells why each photo of a pool is in or out."""

    pool: MeasuredPhotos
    suite: Suite
    checks: Sequence[Check]
    choice: Choice

    @property
    def rank(self) -> Mapping[int, tuple[int, float]]:
        """Number and gain of each chosen photo."""
        return {place: (number, gain) for number, (place, gain) in enumerate(self.choice, start=1)}

    def reasons(self, place: int) -> tuple[str, ...]:
        """Why this photo is in or out, then what was noted about it."""
        row = self.pool.rows[place]
        critical = explain(self.suite, self.checks, row, "critical")
        told = {
            check.column for check in self.checks if check.severity == "critical" and row["photo"] in check.broken_by
        }
        milder = [check for check in self.checks if check.column not in told]
        notes = [f"note: {words}" for words in explain(self.suite, milder, row, "warning")]
        if place in self.rank:
            against = [f"note: pinned against this: {words}" for words in critical]
            return (self._why_in(place), *against, *notes)
        return (*critical, *notes) if critical else (self._why_out(place), *notes)

    def _why_in(self, place: int) -> str:
        """By how much the set came to stand better for the usable photos with this one; 100 % is a full likeness to each of them."""
        number, gain = self.rank[place]
        count = max(1, len(self._usable()))
        after = sum(added for _, added in self.choice[:number]) / count
        pinned = " because the steward pinned it" if place in self.pool.pinned else ""
        worth = f"with it the set stands for the usable photos by {after:.1%}, without it by {after - gain / count:.1%}"
        if gain / count < NOTHING:
            worth = f"it adds nothing to how well the set stands for the usable photos ({after:.1%}), but differs most of those left"
        others = self._stands_for(place)
        return f"chosen as number {number}{pinned}: {worth}{f'; it stands for {others}' if others else ''}"

    def _why_out(self, place: int) -> str:
        if not self.choice:
            return "usable, but no set was chosen"
        closest = max(self.rank, key=lambda other: (self.pool.similarity[place, other], -other))
        share = self._left(place) / len(self._usable())
        worth = "nothing" if share < NOTHING else f"only {share:.1%}"
        return (
            f"usable, but not needed: the set is full with {len(self.choice)} photos, {self.pool.rows[closest]['name']} stands for it "
            f"(likeness {self.pool.similarity[place, closest]:.2f}), and it would add {worth}"
        )

    def _usable(self) -> list[int]:
        return self.pool.usable(broken_by(self.checks, "critical"))

    def _benefit(self) -> Floats:
        return np.clip(self.pool.similarity, 0, None) * self.pool.quality[None, :]

    def _stands_for(self, place: int) -> str:
        """The usable photos left out that are nearer to this one than to any other chosen photo; empty when there are none."""
        benefit, chosen = self._benefit(), sorted(self.rank)
        names = [
            self.pool.rows[other]["name"]
            for other in self._usable()
            if other not in self.rank and max(chosen, key=lambda one: (benefit[other, one], -one)) == place
        ]
        return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")

    def _left(self, place: int) -> float:
        """What this photo would add to the finished choice."""
        benefit, usable = self._benefit(), self._usable()
        covered = benefit[np.ix_(usable, sorted(self.rank))].max(axis=1)
        return float(np.maximum(benefit[usable, place] - covered, 0).sum())
