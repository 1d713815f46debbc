"""The choice of a set from measured photos, and what the chosen photos measure together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seedbank.references.choosing.facility_location import Chosen, choose
from seedbank.references.judging import likeness
from seedbank.references.judging.measured_photos import MeasuredPhotos
from seedbank.references.judging.subject import colour_spread, pose_spread

Choice = Sequence[Chosen]
"""The chosen photos of a :class:`~seedbank.references.judging.measured_photos.MeasuredPhotos`, in their order."""


def choose_photos(photos: MeasuredPhotos, out: set[str], count: int) -> Choice:
    """Up to ``count`` photos that stand best for those whose digests are not ``out``: the pinned ones, then the best first.

    A pinned photo that is ``out`` is chosen all the same, unless its rights forbid it.
    """
    pinned = [index for index in photos.pinned if not photos.rows[index]["rights_faults"]]
    usable = photos.usable(out)
    indices = sorted({*usable, *pinned})
    first = [indices.index(index) for index in pinned]
    # Only usable photos have to be stood for, but a pinned one may stand for them.
    benefit = photos.similarity[np.ix_(indices, indices)] * np.isin(indices, usable)[:, None]
    return [
        Chosen(indices[item.index], item.gain) for item in choose(benefit, photos.quality[indices], count, first=first)
    ]


def measure_set(photos: MeasuredPhotos, choice: Choice, out: set[str]) -> dict[str, Any]:
    """The one row of the table of the set (:data:`seedbank.references.measures.catalogue.SET`), rounded to four digits.

    Args:
        photos: the measured photos.
        choice: the chosen ones.
        out: digests of the photos that were found unusable.
    """
    chosen = [item.index for item in choice]
    usable, pinned = photos.usable(out), set(photos.pinned)
    # The steward answers for pinned photos: what they measure is not held against the set.
    free = [photos.rows[index] for index in chosen if index not in pinned]
    against = [photos.rows[index]["name"] for index in chosen if index in pinned and photos.rows[index]["photo"] in out]
    faulty = [photos.rows[index] for index in sorted(pinned) if photos.rows[index]["rights_faults"]]
    similarity = photos.similarity[np.ix_(chosen, chosen)]
    row: dict[str, Any] = {
        "photo": "the set",
        "photos": float(len(chosen)),
        "usable": float(len(usable)),
        "usable_share": len(usable) / len(photos.rows) if photos.rows else 0.0,
        "peers": float(photos.peers.sum()),
        "pinned": float(len(pinned)),
        "pinned_faults": float(sum(item["rights_faults"] for item in faulty)),
        "pinned_faulty": "; ".join(f"{item['name']}: {item['rights']}" for item in faulty),
        "pinned_soft": float(len(against)),
        "pinned_against": ", ".join(against),
        "rights_faults": sum((photos.rows[index]["rights_faults"] for index in chosen), 0.0),
        "sameness": _closest_pair(photos, chosen, pinned),
        "belonging": min((item["belonging"] for item in free), default=math.nan),
        "sibling_margin": min((item["sibling_margin"] for item in free), default=math.nan),
        "effective_number": likeness.effective_number(similarity) if chosen else 0.0,
        "spread": likeness.spread(similarity),
        "coverage": likeness.coverage(photos.similarity, chosen, photos.peers),
        **_variety(photos, chosen),
    }
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


def _closest_pair(photos: MeasuredPhotos, chosen: Sequence[int], pinned: set[int]) -> float:
    """The highest sameness of two chosen photos, unless the steward pinned both."""
    pairs = [
        photos.same[one, other]
        for number, one in enumerate(chosen)
        for other in chosen[number + 1 :]
        if not (one in pinned and other in pinned)
    ]
    return float(max(pairs, default=0.0))


def _variety(photos: MeasuredPhotos, chosen: Sequence[int]) -> dict[str, float]:
    subjects = [subject for index in chosen if (subject := photos.features[index].subject)]
    return {
        "ground_spread": colour_spread([subject.ground for subject in subjects]),
        "colour_spread": colour_spread([subject.colour for subject in subjects]),
        "pose_spread": pose_spread([subject.outline for subject in subjects]),
    }
