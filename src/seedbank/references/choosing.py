"""Choosing: up to k photos that stand for a whole pool. Facility location with quality weights, greedily (Nemhauser et al. 1978)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def choose(similarity: Floats, quality: Floats, count: int) -> list[tuple[int, float]]:
    """At most ``count`` rows, best first, with what each added: ``F(S) = sum_i max_{j in S} quality_j * similarity_ij``.

    The greedy choice is within 1 - 1/e of the best one, as F is monotone and submodular. Ties go to the lower row: equal input
    gives an equal choice.

    Args:
        similarity: cosines between photos, shape (n, n); below zero counts as zero.
        quality: weight of each photo, 0..1.
        count: how many to choose; fewer when there are fewer.
    """
    benefit = np.clip(similarity, 0, None) * quality[None, :]
    covered = np.zeros(len(quality))
    chosen: list[tuple[int, float]] = []
    for _ in range(min(count, len(quality))):
        gains = np.maximum(benefit - covered[:, None], 0).sum(axis=0)
        gains[[row for row, _ in chosen]] = -1.0
        best = int(np.argmax(np.round(gains, 9)))
        chosen.append((best, float(gains[best])))
        covered = np.maximum(covered, benefit[:, best])
    return chosen
