"""Assessments: why each photo is in the set or out, in plain words with the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbank.references.choosing.choice import Choice
from seedbank.references.judging.measured_photos import MeasuredPhotos, numbers
from seedbank.references.judging.suites import ROWS, Suite
from seedbank.references.records import Assessment, Check

NOTHING = 0.0005
"""A share that is called nothing: it would read 0.0 %."""
NAMED = 3
"""Photos that are named in a sentence; of more, only the number is given."""


def assess(photos: MeasuredPhotos, suite: Suite, checks: Sequence[Check], choice: Choice) -> tuple[Assessment, ...]:
    """Why each photo is in or out, in the order of the rows.

    Args:
        photos: the measured photos.
        suite: the rules of the photos.
        checks: how they came out.
        choice: the chosen photos.
    """
    explainer = _Explainer(photos, suite, checks, choice)
    return tuple(
        Assessment(
            photo=row["photo"],
            name=row["name"],
            chosen=index in explainer.ranks,
            reasons=explainer.reasons(index),
            notes=explainer.notes(index),
            measures=numbers(row),
        )
        for index, row in enumerate(photos.rows)
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
    """Digests of the photos that broke a check of this severity."""
    return {photo for check in checks if check.severity == severity for photo in check.broken_by}


@dataclass(frozen=True)
class _Rank:
    """Where a chosen photo stands in the choice: its number, from 1, and what it added."""

    number: int
    gain: float


@dataclass(frozen=True)
class _Explainer:
    """Says why each photo is in or out."""

    photos: MeasuredPhotos
    suite: Suite
    checks: Sequence[Check]
    choice: Choice

    @property
    def ranks(self) -> Mapping[int, _Rank]:
        """The chosen photos, by index."""
        return {item.index: _Rank(number, item.gain) for number, item in enumerate(self.choice, start=1)}

    def reasons(self, index: int) -> tuple[str, ...]:
        """What decided that this photo is in or out."""
        if index in self.ranks:
            return (self._why_in(index),)
        critical = self._critical(index)
        return critical or (self._why_out(index),)

    def notes(self, index: int) -> tuple[str, ...]:
        """What else was found: what a pin overrules, and the warnings on measures that broke no critical rule."""
        row = self.photos.rows[index]
        against = [f"pinned against this: {words}" for words in self._critical(index)] if index in self.ranks else []
        decided = {
            check.column for check in self.checks if check.severity == "critical" and row["photo"] in check.broken_by
        }
        milder = [check for check in self.checks if check.column not in decided]
        return (*against, *explain(self.suite, milder, row, "warning"))

    def _critical(self, index: int) -> tuple[str, ...]:
        return tuple(explain(self.suite, self.checks, self.photos.rows[index], "critical"))

    def _why_in(self, index: int) -> str:
        """By how much the set came to stand better for the usable photos with this one; 100 % is a full likeness to each of them."""
        rank = self.ranks[index]
        count = max(1, len(self._usable()))
        # F(S) of the facility location, over the most it can be: one for each usable photo.
        after = sum(item.gain for item in self.choice[: rank.number]) / count
        pinned = " because the steward pinned it" if index in self.photos.pinned else ""
        worth = f"with it the set stands for the usable photos by {after:.1%}, without it by {after - rank.gain / count:.1%}"
        if rank.gain / count < NOTHING:
            worth = f"it adds nothing to how well the set stands for the usable photos ({after:.1%}), but differs most of those left"
        others = self._stands_for(index)
        return f"chosen as number {rank.number}{pinned}: {worth}{f'; it stands for {others}' if others else ''}"

    def _why_out(self, index: int) -> str:
        if not self.choice:
            return "usable, but no set was chosen"
        similarity = self.photos.similarity
        closest = max(self.ranks, key=lambda other: (similarity[index, other], -other))
        share = self._gain_if_added(index) / len(self._usable())
        worth = "nothing" if share < NOTHING else f"only {share:.1%}"
        return (
            f"usable, but not needed: the set is full with {len(self.choice)} photos, {self.photos.rows[closest]['name']} stands for it "
            f"(likeness {similarity[index, closest]:.2f}), and it would add {worth}"
        )

    def _usable(self) -> list[int]:
        return self.photos.usable(broken_by(self.checks, "critical"))

    def _benefit(self) -> npt.NDArray[np.float64]:
        # quality_j * max(0, cosine_ij), as `facility_location.choose` has it.
        return np.clip(self.photos.similarity, 0, None) * self.photos.quality[None, :]

    def _stands_for(self, index: int) -> str:
        """The usable photos left out that are nearer to this one than to any other chosen photo; empty when there are none."""
        benefit, chosen = self._benefit(), sorted(self.ranks)
        names = [
            self.photos.rows[other]["name"]
            for other in self._usable()
            if other not in self.ranks and max(chosen, key=lambda one: (benefit[other, one], -one)) == index
        ]
        return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")

    def _gain_if_added(self, index: int) -> float:
        """What this photo would add to the finished choice."""
        benefit, usable = self._benefit(), self._usable()
        # F(S + j) - F(S) = sum_i max(0, benefit_ij - max_{s in S} benefit_is).
        covered = benefit[np.ix_(usable, sorted(self.ranks))].max(axis=1)
        return float(np.maximum(benefit[usable, index] - covered, 0).sum())
