"""Whether seeds can help at all, judged from the explored pool."""

from __future__ import annotations

from typing import Literal

from seedbank.selection.guard import Guard

Reach = Literal["yes", "more search", "no"]

FAR = 0.5
"""A pool whose best is less than this share as near the references as they are to each other does not hold them at all."""


def reach(best: float, guard: Guard) -> Reach:
    """What a pool of plain seeds promises whose best picture has nearness ``best`` under the guard.

    ``yes``: it is acceptable already; ``no``: it is nothing like the references; else ``more search``.

    Conservative: only a pool whose best image is further from the references than anything gradient steps were seen to mend is a ``no``.
    """
    if best >= guard.threshold:
        return "yes"
    return "no" if best < far_limit(guard) else "more search"


def far_limit(guard: Guard) -> float:
    """Nearness below which the pool's best image makes a concept unreachable."""
    return FAR * float(guard.near.mean())
