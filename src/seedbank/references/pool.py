"""The measured pool: every photo of a concept as a row of numbers, the choice made from it, and the verdict on each photo in plain words.

Pure: pictures and embeddings come in, tables and words go out. Who judges the tables, and where results are kept, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbank.concepts import Policy
from seedbank.references import likeness
from seedbank.references.choosing import choose
from seedbank.references.judging import Check
from seedbank.references.measures import measure
from seedbank.references.reference import Reference, Verdict
from seedbank.references.suites import FEWEST_PEERS, Suite, quality_rules

Floats = npt.NDArray[np.float64]
Choice = Sequence[tuple[int, float]]
"""Places of the chosen photos, best first, each with what it added to how well the choice stands for the pool."""


@dataclass(frozen=True)
class MeasuredPool:
    """A pool in the order of its photos' digests.

    Attributes:
        rows: the table of photos. Numbers are measures; ``photo``, ``name``, ``rights`` and ``same_as`` are words to explain them with.
        similarity: cosines between the photos' embeddings, shape (n, n).
        same: how far one photo is a slight crop of another, shape (n, n).
        quality: weight of each photo when choosing, 0..1.
        peers: which photos the others are compared with.
    """

    rows: Sequence[Mapping[str, Any]]
    similarity: Floats
    same: Floats
    quality: Floats
    peers: npt.NDArray[np.bool_]

    def choose(self, out: set[str], count: int) -> Choice:
        """Up to ``count`` photos that stand best for those that are not ``out``, best first."""
        usable = [place for place, row in enumerate(self.rows) if row["photo"] not in out]
        picked = choose(self.similarity[np.ix_(usable, usable)], self.quality[usable], count)
        return [(usable[place], gain) for place, gain in picked]

    def measure_set(self, choice: Choice, *, usable: int) -> dict[str, Any]:
        """The one row of the table of the set."""
        places = [place for place, _ in choice]
        chosen = [self.rows[place] for place in places]
        similarity = self.similarity[np.ix_(places, places)]
        pairs = self.same[np.ix_(places, places)][~np.eye(len(places), dtype=bool)]
        return {
            "photo": "the set",
            "photos": float(len(places)),
            "usable": float(usable),
            "usable_share": round(usable / len(self.rows), 4) if self.rows else 0.0,
            "peers": float(self.peers.sum()),
            "rights_faults": sum((row["rights_faults"] for row in chosen), 0.0),
            "sameness": round(float(pairs.max()), 4) if pairs.size else 0.0,
            "deviation": min((row["deviation"] for row in chosen), default=0.0),
            "effective_number": round(likeness.effective_number(similarity), 4) if places else 0.0,
            "spread": round(likeness.spread(similarity), 4),
            "coverage": round(float(self.similarity[:, places].max(axis=1)[self.peers].mean()), 4)
            if places and self.peers.any()
            else 0.0,
        }

    def verdicts(self, suite: Suite, checks: Sequence[Check], choice: Choice) -> tuple[Verdict, ...]:
        """Why each photo is in or out, in the order of the rows."""
        rank = {place: (number, gain) for number, (place, gain) in enumerate(choice, start=1)}
        return tuple(
            Verdict(
                photo=row["photo"],
                name=row["name"],
                chosen=place in rank,
                reasons=self._reasons(place, suite, checks, rank),
                measures={name: value for name, value in row.items() if isinstance(value, float)},
            )
            for place, row in enumerate(self.rows)
        )

    def _reasons(
        self, place: int, suite: Suite, checks: Sequence[Check], rank: Mapping[int, tuple[int, float]]
    ) -> tuple[str, ...]:
        row = self.rows[place]
        critical = explain(suite, checks, row, "critical")
        notes = [f"note: {words}" for words in explain(suite, checks, row, "warning")]
        if critical:
            return (*critical, *notes)
        if place in rank:
            number, gain = rank[place]
            return (f"chosen as number {number}: it adds {gain:.2f} to how well the set stands for the pool", *notes)
        closest = max(rank, key=lambda other: (self.similarity[place, other], -other), default=place)
        likeness_to_it = self.similarity[place, closest]
        return (
            f"usable, but the set is full and {self.rows[closest]['name']} stands for it (likeness {likeness_to_it:.2f})",
            *notes,
        )


def measure_pool(
    pool: Sequence[Reference],
    images: Sequence[Image.Image],
    faults: Sequence[Sequence[str]],
    embeddings: Floats,
    policy: Policy,
    *,
    measures: Sequence[dict[str, float]] | None = None,
) -> MeasuredPool:
    """Measure every photo by itself and against the others.

    Args:
        pool: the references, in the order of their photos' digests.
        images: their working copies.
        faults: what forbids using each of them, in words.
        embeddings: unit vectors, shape (n, d).
        policy: its bounds rank copies, so that the better one stays; they judge nothing here.
        measures: of each photo by itself, where they are known; None to measure.
    """
    measured = [measure(image) for image in images] if measures is None else measures
    barred = [bool(found) for found in faults]
    # Rounded far below any threshold, so that the last bits of another processor cannot change a set.
    similarity, same = np.round(embeddings @ embeddings.T, 6), np.round(likeness.sameness(images), 6)
    shortfall = [_shortfall(row, policy) for row in measured]
    copies = _copies(same, _best_first(measured, barred, shortfall), policy.references.max_sameness)
    sound = [not (bad or short) for bad, short in zip(barred, shortfall, strict=True)]
    peers = np.array(
        [good and copies[i][0] <= policy.references.max_sameness for i, good in enumerate(sound)], dtype=bool
    )
    usual = likeness.likeness(similarity, peers)
    deviation = likeness.deviations(usual, peers) if peers.sum() >= FEWEST_PEERS else np.zeros(len(pool))
    rows = [
        {
            "photo": item.photo,
            "name": item.name,
            "rights": "; ".join(faults[i]),
            "rights_faults": float(len(faults[i])),
            **measured[i],
            "sameness": round(copies[i][0], 4),
            "same_as": pool[copies[i][1]].name,
            "likeness": round(float(np.nan_to_num(usual[i])), 4),
            "deviation": round(float(deviation[i]), 4),
        }
        for i, item in enumerate(pool)
    ]
    return MeasuredPool(rows, similarity, same, _weights(measured, policy), peers)


def explain(suite: Suite, checks: Sequence[Check], row: Mapping[str, Any], severity: str) -> list[str]:
    """The words for every check of this severity that ``row`` broke."""
    return [
        suite.rules[check.rule].explain(row)
        for check in checks
        if check.severity == severity and row["photo"] in check.broken_by
    ]


def broken_by(checks: Sequence[Check], severity: str) -> set[str]:
    """The photos that broke a check of this severity."""
    return {photo for check in checks if check.severity == severity for photo in check.broken_by}


def _shortfall(row: Mapping[str, float], policy: Policy) -> float:
    return sum(rule.shortfall(row[rule.column]) for rule in quality_rules(policy) if rule.severity == "critical")


def _best_first(
    measured: Sequence[Mapping[str, float]], barred: Sequence[bool], shortfall: Sequence[float]
) -> list[int]:
    """Photos in the order in which they are kept when they are copies of each other: usable ones, large ones, sharp ones first."""
    return sorted(
        range(len(measured)),
        key=lambda i: (barred[i], shortfall[i], -measured[i]["min_side_px"], -measured[i]["sharpness"], i),
    )


def _copies(same: Floats, better: Sequence[int], limit: float) -> dict[int, tuple[float, int]]:
    """For each photo, how far it is a copy of a better one that is no copy itself, and which one that is."""
    kept: list[int] = []
    copies: dict[int, tuple[float, int]] = {}
    for place in better:
        original = max(kept, key=lambda other: (same[place, other], -other), default=place)
        copies[place] = (float(same[place, original]) if kept else 0.0, original)
        if copies[place][0] <= limit:
            kept.append(place)
    return copies


def _weights(measured: Sequence[Mapping[str, float]], policy: Policy) -> Floats:
    """Full weight from four times the sharpness and twice the side that the policy asks for; less below."""
    asked = policy.quality
    sharp = np.array([row["sharpness"] for row in measured]) / max(4 * asked.min_sharpness, 1e-9)
    large = np.array([row["min_side_px"] for row in measured]) / (2 * asked.min_side_px)
    return np.sqrt(np.clip(sharp, 0, 1) * np.clip(large, 0, 1))
