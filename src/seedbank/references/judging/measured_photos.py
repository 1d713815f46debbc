"""The measured photos: every photo of a concept as a row of numbers, by itself and against the others.

Pure: features of photos come in, a table goes out. Who judges the table and chooses from it is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbank.concepts import Policy
from seedbank.references.judging import likeness
from seedbank.references.judging.features import PhotoFeatures
from seedbank.references.judging.picks import NO_PICKS, ResolvedPicks
from seedbank.references.judging.siblings import NO_SIBLINGS, Siblings
from seedbank.references.judging.strangers import Scale, learn_scale
from seedbank.references.judging.suites import photo_suite
from seedbank.references.records import Reference

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
NO_OTHERS: Floats = np.zeros((0, 1))
LEAST_WEIGHT = 0.8
"""Weight of the worst usable photo. Renders of one part have cosines of 0.7 to 0.95 to the shipped guard; with a smaller weight a photo of
an own view, but of middling sharpness, would stand for nothing, not even for itself."""


@dataclass(frozen=True, kw_only=True)
class MeasuredPhotos:
    """Photos in the order of their digests, whatever the order in which they were given.

    Attributes:
        rows: the table of photos. Numbers are measures; ``photo``, ``name``, ``rights``, ``same_as``, ``usual``, ``unlike`` and ``sibling``
            are words to explain them with.
        features: what is kept of each photo.
        similarity: cosines between the photos' embeddings, shape (n, n).
        same: how far one photo is a slight crop of another, -1..1, shape (n, n).
        quality: weight of each photo when choosing, :data:`LEAST_WEIGHT`..1, shape (n,).
        peers: which photos the others are compared with, shape (n,): those with rights, of good quality, not banned, and no copy of a
            better one.
        scale: how alike a photo must be to belong.
        picks: what the steward decided.
    """

    rows: Sequence[Mapping[str, Any]]
    features: Sequence[PhotoFeatures]
    similarity: Floats
    same: Floats
    quality: Floats
    peers: Flags
    scale: Scale
    picks: ResolvedPicks = NO_PICKS

    @property
    def pinned(self) -> tuple[int, ...]:
        """Indices of the pinned photos, in the steward's order."""
        indices = {row["photo"]: index for index, row in enumerate(self.rows)}
        return tuple(indices[photo] for photo in self.picks.pinned)

    def usable(self, out: set[str]) -> list[int]:
        """Indices of the photos whose digests are not ``out``."""
        return [index for index, row in enumerate(self.rows) if row["photo"] not in out]


@dataclass(frozen=True)
class _Copy:
    """How far a photo is a copy of the better photo ``original`` (an index), -1..1."""

    sameness: float
    original: int


def measure_photos(
    photos: Sequence[Reference],
    features: Sequence[PhotoFeatures],
    faults: Sequence[Sequence[str]],
    policy: Policy,
    *,
    picks: ResolvedPicks = NO_PICKS,
    siblings: Siblings = NO_SIBLINGS,
    others: Floats = NO_OTHERS,
) -> MeasuredPhotos:
    """Measure every photo by itself and against the others.

    Args:
        photos: the references, in any order.
        features: of each of them.
        faults: what forbids using each of them, in words.
        policy: its bounds rank copies, so that the better one stays; they judge nothing here.
        picks: what the steward decided; of two copies a pinned one stays, and a banned photo is compared with nobody.
        siblings: what the concept must not be confused with.
        others: unit vectors of pictures of other things, shape (m, d).
    """
    # 1. One order, so that equal photos give equal bytes.
    in_order = sorted(zip(photos, features, faults, strict=True), key=lambda photo: photo[0].photo)
    photos, features = [item for item, _, _ in in_order], [kept for _, kept, _ in in_order]
    faults = [found for _, _, found in in_order]
    measured = [kept.measures for kept in features]

    # 2. Each photo by itself: may it be used, and by how much does it miss the bounds of quality?
    banned = [item.photo in picks.banned for item in photos]
    barred = [bool(found) or ban for found, ban in zip(faults, banned, strict=True)]
    quality = photo_suite(policy).quality
    shortfall = [sum(rule.shortfall(row[rule.column]) for rule in quality) for row in measured]

    # 3. Copies: of each group of copies the best photo stays a peer.
    # Rounded far below any threshold, so that the last bits of another processor cannot change a set.
    same = np.round(likeness.sameness([kept.thumbnail for kept in features]), 6)
    order = _best_first(measured, barred, shortfall, [item.photo in picks.pinned for item in photos])
    copies = _copies(same, order, policy.references.max_sameness)
    peers = np.array(
        [
            not (barred[i] or shortfall[i]) and copies[i].sameness <= policy.references.max_sameness
            for i in range(len(photos))
        ],
        dtype=bool,
    )

    # 4. Strangers: how alike is each photo to its peers, beside how alike these and pictures of other things are?
    vectors: Floats = np.array([kept.embedding for kept in features]) if features else np.zeros((0, 1))
    # Unit vectors: products are cosines. Rounded like `same`.
    similarity = np.round(vectors @ vectors.T, 6)
    fewest = policy.references.min_peers
    alike = likeness.likeness(similarity, peers)
    scale = learn_scale(alike, vectors, peers, others, limit=policy.references.min_belonging, fewest=fewest)
    belonging = scale.belonging(alike)

    # 5. Siblings: is it nearer to what the model draws for a sibling prompt than to its peers?
    margins, nearest = _sibling_margins(vectors, peers, siblings if peers.sum() >= fewest else NO_SIBLINGS)

    rows = [
        {
            "photo": item.photo,
            "name": item.name,
            "rights": "; ".join(faults[i]),
            "rights_faults": float(len(faults[i])),
            "banned": float(banned[i]),
            **measured[i],
            "sameness": round(copies[i].sameness, 4),
            "same_as": photos[copies[i].original].name,
            "likeness": round(float(np.nan_to_num(alike[i])), 4),
            "belonging": round(float(belonging[i]), 4),
            "usual": f"{scale.usual:.2f}",
            "unlike": f"{scale.unlike:.2f}",
            "sibling_margin": round(float(margins[i]), 4),
            "sibling": nearest[i],
        }
        for i, item in enumerate(photos)
    ]
    return MeasuredPhotos(
        rows=rows,
        features=features,
        similarity=similarity,
        same=same,
        quality=_weights(measured, policy),
        peers=peers,
        scale=scale,
        picks=picks,
    )


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The measures of a row, without what could not be measured."""
    return {name: value for name, value in row.items() if isinstance(value, float) and math.isfinite(value)}


def _sibling_margins(vectors: Floats, peers: Flags, siblings: Siblings) -> tuple[Floats, list[str]]:
    """Cosine of each photo to the mean of the other peers less that to the nearest sibling, shape (n,), and which sibling that is."""
    if siblings.centroids is None:
        return np.full(len(vectors), np.nan), [""] * len(vectors)
    own = likeness.to_own_mean(vectors, peers)
    to_siblings = vectors @ siblings.centroids.T
    return own - to_siblings.max(axis=1), [siblings.prompts[number] for number in to_siblings.argmax(axis=1)]


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


def _copies(same: Floats, best_first: Sequence[int], limit: float) -> dict[int, _Copy]:
    """For each photo, how far it is a copy of a better one that is no copy itself."""
    kept: list[int] = []
    copies: dict[int, _Copy] = {}
    for index in best_first:
        # Against kept photos only: in a chain of crops each is judged by what stays, not by what falls.
        original = max(kept, key=lambda other: (same[index, other], -other), default=index)
        copies[index] = _Copy(float(same[index, original]) if kept else 0.0, original)
        if copies[index].sameness <= limit:
            kept.append(index)
    return copies


def _weights(measured: Sequence[Mapping[str, float]], policy: Policy) -> Floats:
    """Full weight from four times the sharpness and twice the side that the policy asks for; less below, but never less than a usable
    photo is worth."""
    asked = policy.quality
    sharp = np.array([row["sharpness"] for row in measured]) / max(4 * asked.min_sharpness, 1e-9)
    large = np.array([row["min_side_px"] for row in measured]) / (2 * asked.min_side_px)
    # Geometric mean of the two: either fault alone lowers the weight.
    return LEAST_WEIGHT + (1 - LEAST_WEIGHT) * np.sqrt(np.clip(sharp, 0, 1) * np.clip(large, 0, 1))
