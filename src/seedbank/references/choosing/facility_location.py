"""Facility location: up to k rows that stand for all of them, with quality weights, chosen greedily (Nemhauser, Wolsey and Fisher 1978)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Chosen:
    """One choice.

    Attributes:
        index: the row that was chosen.
        gain: what it added to how well the choice stands for all rows, in the units of ``F`` of :func:`choose`.
    """

    index: int
    gain: float


def choose(similarity: Floats, quality: Floats, count: int, *, first: Sequence[int] = ()) -> list[Chosen]:
    """At most ``count`` rows, best first, that make ``F(S) = sum_i max_{j in S} quality_j * similarity_ij`` large.

    F is monotone and submodular, so what the greedy choice adds to ``first`` is at least 1 - 1/e of the most that as many rows could add
    (Nemhauser, Wolsey and Fisher 1978). Of equal gains the one wins that would add most if quality did not count, then the lower row:
    equal input gives an equal choice.

    Args:
        similarity: cosines between rows, shape (n, n); below zero counts as zero.
        quality: weight of each row, 0..1, shape (n,).
        count: how many to choose; fewer when there are fewer.
        first: rows that are chosen before any other, in this order.
    """
    likeness = np.clip(similarity, 0, None)
    benefit = likeness * quality[None, :]
    # How well the choice so far stands for each row, with and without the weights.
    covered, covered_unweighted = np.zeros(len(quality)), np.zeros(len(quality))
    chosen: list[Chosen] = []
    for turn in range(min(count, len(quality))):
        # F(S + j) - F(S) for every row j at once.
        gains = np.maximum(benefit - covered[:, None], 0).sum(axis=0)
        unweighted_gains = np.maximum(likeness - covered_unweighted[:, None], 0).sum(axis=0)
        remaining = sorted(set(range(len(quality))) - {item.index for item in chosen})
        # Rounded, so that the order of summing decides nothing.
        best = (
            first[turn]
            if turn < len(first)
            else min(remaining, key=lambda row: (-gains[row].round(9), -unweighted_gains[row].round(9), row))
        )
        chosen.append(Chosen(best, float(gains[best])))
        covered = np.maximum(covered, benefit[:, best])
        covered_unweighted = np.maximum(covered_unweighted, likeness[:, best])
    return chosen
