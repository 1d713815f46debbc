"""How far two results of the same arithmetic may lie apart, from what is known of floating point: the one tolerance of numeric tests.

Kernels add up in an order that depends on the processor, the threads and the batch, so the last bits of a result do. A value that comes
from one evaluation of a network is off by some units in the last place of the *largest* value, since that is what was added up. The
errors of steps that follow each other are independent and add up like a random walk.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

Kernels = Literal["same", "other"]
UNITS: dict[Kernels, float] = {"same": 8.0, "other": 32.0}
"""Units in the last place by which one evaluation of a network in float32 may be off.

``other`` kernels (another batch, processor, library or place in memory): some ten layers in a row, each a sum of some hundred products, is
sqrt(10 · 100) = 32 units. The ``same`` kernels: only what is added up between networks comes in another order, some sixty terms, is
sqrt(60) = 8.
"""
HALF_UNITS = 2.0
"""The same where weights are in half precision: sums are in float32, each layer's result is rounded by half a unit, sqrt(10) / 2 < 2."""


def tolerance(
    expected: Any, *, steps: int = 1, dtype: torch.dtype = torch.float32, kernels: Kernels = "other"
) -> float:
    """The most that a value may differ from ``expected`` (a tensor or number) after ``steps`` evaluations in ``dtype`` in a row."""
    largest = float(torch.as_tensor(expected).abs().max())
    units = UNITS[kernels] if dtype in {torch.float32, torch.float64} else HALF_UNITS
    return units * torch.finfo(dtype).eps * sqrt(steps) * largest


def close(
    found: Any, expected: Any, *, steps: int = 1, dtype: torch.dtype = torch.float32, kernels: Kernels = "other"
) -> None:
    """Assert that ``found`` is ``expected`` but for rounding; see :func:`tolerance`."""
    limit = tolerance(expected, steps=steps, dtype=dtype, kernels=kernels)
    left, right = (torch.as_tensor(value) for value in (found, expected))
    torch.testing.assert_close(left.to(right.dtype), right, rtol=0, atol=limit)


def same_pixels(found: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8]) -> None:
    """Assert that two images are the same but for rounding: a value between two levels may fall on either side, and few lie there."""
    assert found.shape == expected.shape
    apart = np.abs(found.astype(int) - expected.astype(int))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= RARE


RARE = 0.01
"""Of all values: what rounding moves by 1e-6 of the range lies between two levels once in some thousand values."""
