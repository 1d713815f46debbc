"""How far two results of the same arithmetic may lie apart, from what is known of floating point: the one tolerance of numeric tests.

Kernels add up in an order that depends on the processor, the threads and the batch, so the last bits of a result do. A value that comes
from one evaluation of a network is off by some units in the last place of the *largest* value, since that is what was added up. The
errors of steps that follow each other are independent and add up like a random walk.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor

UNITS = {torch.float64: 32.0, torch.float32: 32.0, torch.bfloat16: 2.0, torch.float16: 2.0}
"""Units in the last place by which one evaluation of a network may be off, for each data type of its weights.

Some ten layers in a row, each a sum of some hundred products: sqrt(10 · 100) = 32 units where the sums themselves are rounded. Half
precision adds up in float32 and rounds each layer's result once, by half a unit: sqrt(10) / 2 < 2 units.
"""


def tolerance(expected: Any, *, steps: int = 1, dtype: torch.dtype = torch.float32) -> float:
    """The most that a value may differ from ``expected`` (a tensor or number) after ``steps`` evaluations in ``dtype`` in a row."""
    largest = float(torch.as_tensor(expected).abs().max())
    return UNITS[dtype] * torch.finfo(dtype).eps * sqrt(steps) * largest


def close(found: Any, expected: Any, *, steps: int = 1, dtype: torch.dtype = torch.float32) -> None:
    """Assert that ``found`` is ``expected`` but for rounding; see :func:`tolerance`."""
    limit = tolerance(expected, steps=steps, dtype=dtype)
    left, right = (value if isinstance(value, Tensor) else torch.as_tensor(value) for value in (found, expected))
    torch.testing.assert_close(left.to(right.dtype), right, rtol=0, atol=limit)
