"""How many different things a collection really holds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def effective_number(similarity: Floats) -> float:
    """Vendi score (Friedman and Dieng 2023, eq. 3): exp of the entropy of the eigenvalues of K/n. From 1 (all alike) to n.

    Args:
        similarity: ``[n, n]``, positive semi-definite with ones on its diagonal; n at least 1.
    """
    # rounding leaves some a little below zero; 0·log 0 is 0, so what is nothing is left out
    weights = np.clip(np.linalg.eigvalsh(similarity / len(similarity)), 0, None)
    weights = weights[weights > 1e-12]
    return float(np.exp(-(weights * np.log(weights)).sum()))
