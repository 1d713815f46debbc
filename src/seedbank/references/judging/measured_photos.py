"""The measured pool: every photo of a concept as a row of numbers, and the choice made from it.

Pure: looks at pictures come in, tables go out. Who judges the tables, what is said, and where results are kept, is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbank.concepts import Policy
from seedbank.references.choosing.facility_location import NOBODY, Resolved, choose
from seedbank.references.judging import likeness
from seedbank.references.judging.features import Look
from seedbank.references.judging.subject import colour_spread, pose_spread
from seedbank.references.judging.suites import photo_suite
from seedbank.references.records import Reference

Floats = npt.NDArray[np.float64]
Choice = Sequence[tuple[int, float]]
"""Places of the chosen photos, in order, each with what it added to how well the choice stands for the pool."""
USABLE = 0.8
"""Weight of the worst usable photo. Photos of one thing have cosines of 0.7 to 0.95; with a smaller weight a photo of an own view, but of
middling sharpness, would stand for nothing, not even for itself."""


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
class MeasuredPhotos:
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


def measure_photos(
    pool: Sequence[Reference],
    looks: Sequence[Look],
    faults: Sequence[Sequence[str]],
    policy: Policy,
    *,
    picks: Resolved = NOBODY,
    siblings: Siblings = NO_SIBLINGS,
) -> MeasuredPhotos:
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
    return MeasuredPhotos(rows, looks, similarity, same, _weights(measured, policy), peers, picks)


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
