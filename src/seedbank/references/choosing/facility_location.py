"""Choosing: up to k photos that stand for a whole pool. Facility location with quality weights, greedily (Nemhauser et al. 1978)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seedbank.concepts import Picks
from seedbank.errors import UsageError

Floats = npt.NDArray[np.float64]
HEX = frozenset("0123456789abcdef")


class Named(Protocol):
    """A photo as the steward names it."""

    @property
    def photo(self) -> str:
        """Its digest."""

    @property
    def name(self) -> str:
        """Its file name."""


@dataclass(frozen=True)
class Resolved:
    """Digests of the pinned photos, in the steward's order, and of the banned ones."""

    pinned: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()


NOBODY = Resolved()
"""No photo pinned, none banned."""


def choose(similarity: Floats, quality: Floats, count: int, *, first: Sequence[int] = ()) -> list[tuple[int, float]]:
    """At most ``count`` rows, best first, with what each added: ``F(S) = sum_i max_{j in S} quality_j * similarity_ij``.

    F is monotone and submodular, so what the greedy choice adds to ``first`` is at least 1 - 1/e of the most that as many rows could add
    (Nemhauser, Wolsey and Fisher 1978). Of equal gains the one wins that would add most if quality did not count, then the lower row:
    equal input gives an equal choice.

    Args:
        similarity: cosines between photos, shape (n, n); below zero counts as zero.
        quality: weight of each photo, 0..1.
        count: how many to choose; fewer when there are fewer.
        first: rows that are chosen before any other, in this order.
    """
    likeness = np.clip(similarity, 0, None)
    benefit = likeness * quality[None, :]
    covered, alike = np.zeros(len(quality)), np.zeros(len(quality))
    chosen: list[tuple[int, float]] = []
    for turn in range(min(count, len(quality))):
        gains = np.maximum(benefit - covered[:, None], 0).sum(axis=0)
        news = np.maximum(likeness - alike[:, None], 0).sum(axis=0)
        left = sorted(set(range(len(quality))) - {row for row, _ in chosen})
        # Rounded, so that the order of summing decides nothing.
        best = (
            first[turn]
            if turn < len(first)
            else min(left, key=lambda row: (-gains[row].round(9), -news[row].round(9), row))
        )
        chosen.append((best, float(gains[best])))
        covered, alike = np.maximum(covered, benefit[:, best]), np.maximum(alike, likeness[:, best])
    return chosen


def resolve(picks: Picks, pool: Sequence[Named], *, most: int) -> Resolved:
    """Which photos the steward pins and bans.

    Raises:
        UsageError: a name means no photo or several, a photo is both pinned and banned, or more are pinned than a set holds.
    """
    pinned = tuple(_digest("pin", name, pool) for name in picks.pin)
    banned = tuple(_digest("ban", name, pool) for name in picks.ban)
    if both := sorted(set(pinned) & set(banned)):
        raise UsageError(
            f"photo {both[0][:12]} is pinned and banned under two names; decide for one in the concept file"
        )
    if len(set(pinned)) < len(pinned):
        raise UsageError(f"references.pin names one photo twice: {', '.join(picks.pin)}; name it once")
    if len(pinned) > most:
        raise UsageError(
            f"{len(pinned)} photos are pinned, a set holds at most {most}; pin fewer or raise policy.references.max_photos"
        )
    return Resolved(pinned, banned)


def _digest(kind: str, name: str, pool: Sequence[Named]) -> str:
    found = [item.photo for item in pool if item.name == name]
    if not found and set(name) <= HEX:
        found = [item.photo for item in pool if item.photo.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        digests = ", ".join(digest[:12] for digest in found)
        raise UsageError(
            f"references.{kind} names {name!r}, which are {len(found)} photos: {digests}; name one by its digest"
        )
    known = ", ".join(item.name for item in pool[:12]) + (", …" if len(pool) > 12 else "")
    raise UsageError(
        f"references.{kind} names {name!r}, expected a file name or the first digits of a digest of the pool: {known or 'it is empty'}; "
        "a photo that intake set aside is in no pool: `seedbank intake` says why"
    )
