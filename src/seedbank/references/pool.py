"""The measured pool: every photo of a concept as a row of numbers, the choice made from it, and the verdict on each photo in plain words.

Pure: looks at pictures come in, tables and words go out. Who judges the tables, and where results are kept, is decided elsewhere.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbank.concepts import Policy
from seedbank.references import likeness
from seedbank.references.choosing import NOBODY, Resolved, choose
from seedbank.references.judging import Check
from seedbank.references.measures import Sight, measure, shrink
from seedbank.references.reference import Reference, Verdict
from seedbank.references.subject import Subject, colour_spread, find_subject, pose_spread
from seedbank.references.suites import ROWS, Suite, photo_suite

Floats = npt.NDArray[np.float64]
Choice = Sequence[tuple[int, float]]
"""Places of the chosen photos, in order, each with what it added to how well the choice stands for the pool."""
PREVIEW = 168
"""Longer side in pixels of the picture that the report shows."""
NOTHING = 0.0005
"""A share that is told as nothing: it would read 0.0 %."""
USABLE = 0.8
"""Weight of the worst usable photo. Photos of one thing have cosines of 0.7 to 0.95; with a smaller weight a photo of an own view, but of
middling sharpness, would stand for nothing, not even for itself."""
NAMED = 3
"""Photos that are named in a sentence; of more, only the number is told."""


@dataclass(frozen=True)
class Look:
    """What is kept of one photo after it was looked at: a few dozen kilobytes, whatever its size.

    Attributes:
        measures: the photo by itself, :data:`seedbank.references.catalogue.PHOTO`.
        thumbnail: the whole photo squeezed into a small square, for finding copies.
        subject: subject and background, if they could be told apart.
        embedding: unit vector of a vision model, shape (d,).
        preview: a small JPEG to show.
    """

    measures: Mapping[str, float]
    thumbnail: Image.Image
    subject: Subject | None
    embedding: Floats
    preview: bytes

    @classmethod
    def at(cls, image: Image.Image, embedding: Floats, original: bytes = b"") -> Look:
        """Look at an upright RGB picture; ``original`` is its file, for traces of compression."""
        sight = Sight.of(image)
        buffer = io.BytesIO()
        shrink(sight.small, PREVIEW).save(buffer, "JPEG", quality=82)
        return cls(
            measures=measure(image, original, sight=sight),
            thumbnail=likeness.thumbnail(image),
            subject=find_subject(sight.small),
            embedding=embedding,
            preview=buffer.getvalue(),
        )


@dataclass(frozen=True)
class Siblings:
    """What the concept must not be confused with.

    Attributes:
        prompts: the sibling prompts.
        centroids: unit vector of what the model draws for each, shape (len(prompts), d).
        missing: why there are none; empty when there are.
    """

    prompts: tuple[str, ...] = ()
    centroids: Floats | None = None
    missing: str = ""


NO_SIBLINGS = Siblings()


@dataclass(frozen=True)
class MeasuredPool:
    """A pool in the order of its photos' digests, whatever the order in which it was given.

    Attributes:
        rows: the table of photos. Numbers are measures; ``photo``, ``name``, ``rights``, ``same_as`` and ``sibling`` are words to explain
            them with.
        looks: what was seen of each.
        similarity: cosines between the photos' embeddings, shape (n, n).
        same: how far one photo is a slight crop of another, shape (n, n).
        quality: weight of each photo when choosing, 0..1.
        peers: which photos the others are compared with.
        picks: what the steward decided.
    """

    rows: Sequence[Mapping[str, Any]]
    looks: Sequence[Look]
    similarity: Floats
    same: Floats
    quality: Floats
    peers: npt.NDArray[np.bool_]
    picks: Resolved = NOBODY

    def choose(self, out: set[str], count: int) -> Choice:
        """Up to ``count`` photos that stand best for those that are not ``out``: the pinned ones, then the best first.

        A pinned photo that is ``out`` is chosen all the same, unless its rights forbid it.
        """
        pinned = [place for place in self.pinned if not self.rows[place]["rights_faults"]]
        usable = self.usable(out)
        places = sorted({*usable, *pinned})
        first = [places.index(place) for place in pinned]
        # Only usable photos have to be stood for, but a pinned one may stand for them.
        benefit = self.similarity[np.ix_(places, places)] * np.isin(places, usable)[:, None]
        picked = choose(benefit, self.quality[places], count, first=first)
        return [(places[place], gain) for place, gain in picked]

    @property
    def pinned(self) -> tuple[int, ...]:
        """Places of the pinned photos, in the steward's order."""
        places = {row["photo"]: place for place, row in enumerate(self.rows)}
        return tuple(places[photo] for photo in self.picks.pinned)

    def usable(self, out: set[str]) -> list[int]:
        """Places of the photos that are not ``out``."""
        return [place for place, row in enumerate(self.rows) if row["photo"] not in out]

    def measure_set(self, choice: Choice, out: set[str]) -> dict[str, Any]:
        """The one row of the table of the set, after the photos in ``out`` were found unusable."""
        places = [place for place, _ in choice]
        usable, pinned = self.usable(out), set(self.pinned)
        free = [self.rows[place] for place in places if place not in pinned]
        against = [self.rows[place]["name"] for place in places if place in pinned and self.rows[place]["photo"] in out]
        faulty = [self.rows[place] for place in sorted(pinned) if self.rows[place]["rights_faults"]]
        similarity = self.similarity[np.ix_(places, places)]
        row: dict[str, Any] = {
            "photo": "the set",
            "photos": float(len(places)),
            "usable": float(len(usable)),
            "usable_share": len(usable) / len(self.rows) if self.rows else 0.0,
            "peers": float(self.peers.sum()),
            "pinned": float(len(pinned)),
            "pinned_faults": float(sum(item["rights_faults"] for item in faulty)),
            "pinned_faulty": "; ".join(f"{item['name']}: {item['rights']}" for item in faulty),
            "pinned_soft": float(len(against)),
            "pinned_against": ", ".join(against),
            "rights_faults": sum((self.rows[place]["rights_faults"] for place in places), 0.0),
            "sameness": self._closest_pair(places, pinned),
            "deviation": min((item["deviation"] for item in free), default=0.0),
            "sibling_margin": min((item["sibling_margin"] for item in free), default=math.nan),
            "effective_number": likeness.effective_number(similarity) if places else 0.0,
            "spread": likeness.spread(similarity),
            "coverage": likeness.coverage(self.similarity, places, self.peers),
            **self._variety(places),
        }
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}

    def verdicts(self, suite: Suite, checks: Sequence[Check], choice: Choice) -> tuple[Verdict, ...]:
        """Why each photo is in or out, in the order of the rows."""
        teller = _Teller(self, suite, checks, choice)
        return tuple(
            Verdict(
                photo=row["photo"],
                name=row["name"],
                chosen=place in teller.rank,
                reasons=teller.reasons(place),
                measures=numbers(row),
            )
            for place, row in enumerate(self.rows)
        )

    def _closest_pair(self, places: Sequence[int], pinned: set[int]) -> float:
        """The highest sameness of two chosen photos, unless the steward pinned both."""
        pairs = [
            self.same[one, other]
            for number, one in enumerate(places)
            for other in places[number + 1 :]
            if not (one in pinned and other in pinned)
        ]
        return float(max(pairs, default=0.0))

    def _variety(self, places: Sequence[int]) -> dict[str, float]:
        found = [subject for place in places if (subject := self.looks[place].subject)]
        return {
            "ground_spread": colour_spread([subject.ground for subject in found]),
            "colour_spread": colour_spread([subject.colour for subject in found]),
            "pose_spread": pose_spread([subject.outline for subject in found]),
        }


@dataclass(frozen=True)
class _Teller:
    """Tells why each photo of a pool is in or out."""

    pool: MeasuredPool
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


def measure_pool(
    pool: Sequence[Reference],
    looks: Sequence[Look],
    faults: Sequence[Sequence[str]],
    policy: Policy,
    *,
    picks: Resolved = NOBODY,
    siblings: Siblings = NO_SIBLINGS,
) -> MeasuredPool:
    """Measure every photo by itself and against the others.

    Args:
        pool: the references, in any order.
        looks: what was seen of each.
        faults: what forbids using each of them, in words.
        policy: its bounds rank copies, so that the better one stays; they judge nothing here.
        picks: what the steward decided; of two copies a pinned one stays, and a banned photo is compared with nobody.
        siblings: what the concept must not be confused with.
    """
    in_order = sorted(zip(pool, looks, faults, strict=True), key=lambda photo: photo[0].photo)
    pool, looks = [item for item, _, _ in in_order], [look for _, look, _ in in_order]
    faults = [found for _, _, found in in_order]
    measured = [look.measures for look in looks]
    banned = [item.photo in picks.banned for item in pool]
    barred = [bool(found) or ban for found, ban in zip(faults, banned, strict=True)]
    vectors: Floats = np.array([look.embedding for look in looks]) if looks else np.zeros((0, 1))
    # Rounded far below any threshold, so that the last bits of another processor cannot change a set.
    similarity = np.round(vectors @ vectors.T, 6)
    same = np.round(likeness.sameness([look.thumbnail for look in looks]), 6)
    quality = photo_suite(policy).quality
    shortfall = [sum(rule.shortfall(row[rule.column]) for rule in quality) for row in measured]
    order = _best_first(measured, barred, shortfall, [item.photo in picks.pinned for item in pool])
    copies = _copies(same, order, policy.references.max_sameness)
    sound = [not (bad or short) for bad, short in zip(barred, shortfall, strict=True)]
    peers = np.array(
        [good and copies[i][0] <= policy.references.max_sameness for i, good in enumerate(sound)], dtype=bool
    )
    enough = peers.sum() >= policy.references.min_peers
    usual = likeness.likeness(similarity, peers)
    deviation = likeness.deviations(usual, peers) if enough else np.zeros(len(pool))
    margins, nearest = _agreement(vectors, peers, siblings if enough else NO_SIBLINGS)
    rows = [
        {
            "photo": item.photo,
            "name": item.name,
            "rights": "; ".join(faults[i]),
            "rights_faults": float(len(faults[i])),
            "banned": float(banned[i]),
            **measured[i],
            "sameness": round(copies[i][0], 4),
            "same_as": pool[copies[i][1]].name,
            "likeness": round(float(np.nan_to_num(usual[i])), 4),
            "deviation": round(float(deviation[i]), 4),
            "sibling_margin": round(float(margins[i]), 4),
            "sibling": nearest[i],
        }
        for i, item in enumerate(pool)
    ]
    return MeasuredPool(rows, looks, similarity, same, _weights(measured, policy), peers, picks)


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


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The measures of a row, without what could not be measured."""
    return {name: value for name, value in row.items() if isinstance(value, float) and math.isfinite(value)}


def _agreement(vectors: Floats, peers: npt.NDArray[np.bool_], siblings: Siblings) -> tuple[Floats, list[str]]:
    """How much nearer each photo is to the mean of the other peers than to the nearest sibling, and which sibling that is."""
    if siblings.centroids is None:
        return np.full(len(vectors), np.nan), [""] * len(vectors)
    own = likeness.to_own_mean(vectors, peers)
    to_siblings = vectors @ siblings.centroids.T
    return own - to_siblings.max(axis=1), [siblings.prompts[place] for place in to_siblings.argmax(axis=1)]


def _best_first(
    measured: Sequence[Mapping[str, float]],
    barred: Sequence[bool],
    shortfall: Sequence[float],
    pinned: Sequence[bool],
) -> list[int]:
    """Photos in the order in which they are kept when they are copies of each other: pinned, usable, large and sharp ones first."""
    return sorted(
        range(len(measured)),
        key=lambda i: (
            not pinned[i] or barred[i],
            barred[i],
            shortfall[i],
            -measured[i]["min_side_px"],
            -measured[i]["sharpness"],
            i,
        ),
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
    """Full weight from four times the sharpness and twice the side that the policy asks for; less below, but never less than a usable
    photo is worth."""
    asked = policy.quality
    sharp = np.array([row["sharpness"] for row in measured]) / max(4 * asked.min_sharpness, 1e-9)
    large = np.array([row["min_side_px"] for row in measured]) / (2 * asked.min_side_px)
    return USABLE + (1 - USABLE) * np.sqrt(np.clip(sharp, 0, 1) * np.clip(large, 0, 1))
