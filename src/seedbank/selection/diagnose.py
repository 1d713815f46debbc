"""Diagnosis: whether seeds can help at all, from a pool of plain seeds alone, before any gradient is taken.

Three answers. *more search*: plain seeds already give acceptable images often enough that drawing more of them is all it takes. *optimise*:
few or none do, but the pool reaches far enough towards the references for gradient steps to go the rest. *no*: the pool is so far away,
measured in its own spread under the guard and under the objective's encoder alike, that no seed of this model was seen to get there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

from torch import Tensor

Verdict = Literal["more search", "optimise", "no"]
Reach = Literal["yes", "more search", "no"]

OFTEN = 1 / 32
"""Acceptable plain seeds of which at least this share are wanted for searching on: below it, optimising a start costs less."""
FAR = 8.0
"""Mean of both distances beyond which nothing was reached. On the shipped model gradient steps reach starknob from 6.2 and impeller from
4.6; parts that it never saw lie at 6.8 and more, but for one in six that is like one it saw."""
OPTIMISED_COST = 40.0
"""Plain samples that one start of the preset ``balanced`` costs, its share of the exploration included."""
LORA_COST, INVERSION_COST = 60.0, 225.0
"""Plain samples that fine-tuning once costs: LoRA of 500 to 1000 steps, Textual Inversion of 3000."""


@dataclass(frozen=True)
class Diagnosis:
    """The answer and its evidence.

    Attributes:
        verdict: see the module's text.
        seeds: plain seeds looked at.
        accepted: how many of them are acceptable.
        low: of a 95 % interval of that share (Wilson).
        high: likewise.
        best: highest nearness to the references under the guard.
        needed: nearness that is acceptable.
        guard_distance: from the pool's mean to what is needed, in the pool's standard deviations, under the guard.
        objective_distance: likewise under the objective's encoder, to the reference that is least like the others.
    """

    verdict: Verdict
    seeds: int
    accepted: int
    low: float
    high: float
    best: float
    needed: float
    guard_distance: float
    objective_distance: float

    @property
    def reach(self) -> Reach:
        """The same as a trial records it: ``yes`` where some plain seed is acceptable."""
        if self.accepted:
            return "yes"
        return "no" if self.verdict == "no" else "more search"

    @property
    def distance(self) -> float:
        """Mean of both distances."""
        return (self.guard_distance + self.objective_distance) / 2

    @property
    def each(self) -> float:
        """Plain samples that one acceptable image costs by the way advised; infinite where there is none."""
        if self.verdict == "no":
            return inf
        return self.seeds / self.accepted if self.verdict == "more search" else OPTIMISED_COST

    @property
    def break_even(self) -> float:
        """Images beyond which fine-tuning once (LoRA) costs less than seeds for each; 0 where seeds are no way at all."""
        return LORA_COST / (self.each - 1) if self.each > 1 else inf

    @property
    def words(self) -> str:
        """The verdict in a sentence, with its numbers."""
        share = f"{self.accepted} of {self.seeds} plain seeds are acceptable ({self.low:.0%} to {self.high:.0%})"
        away = (
            f"the pool's mean lies {self.guard_distance:.1f} and {self.objective_distance:.1f} of its deviations away"
        )
        if self.verdict == "more search":
            return f"{share}: drawing more of them is enough, about {self.each:.0f} for each image"
        if self.verdict == "optimise":
            return f"{share}, and {away} from the references: optimise"
        return f"none of {self.seeds} plain seeds is acceptable, and {away}, more than {FAR}: no seed of this model will do"


def diagnose(guard: Tensor, needed: float, objective: Tensor, goal: float) -> Diagnosis:
    """What a pool of n plain seeds says.

    Args:
        guard: nearness of each image under the guard, contrast included, ``[n]``.
        needed: nearness that is acceptable.
        objective: nearness of each image under the objective's encoder, ``[n]``.
        goal: nearness of the reference that is least like the others, under that encoder.
    """
    count, accepted = len(guard), int((guard >= needed).sum())
    distances = _distance(guard, needed), _distance(objective, goal)
    verdict: Verdict = "optimise"
    if accepted >= OFTEN * count and accepted:
        verdict = "more search"
    elif not accepted and sum(distances) / 2 > FAR:
        verdict = "no"
    low, high = _wilson(accepted, count)
    return Diagnosis(verdict, count, accepted, low, high, float(guard.max()), needed, *distances)


def _distance(pool: Tensor, needed: float) -> float:
    """In standard deviations; at least 0."""
    spread = float(pool.std()) if len(pool) > 1 else 0.0
    return max((needed - float(pool.mean())) / max(spread, 1e-3), 0.0)


def _wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (1927)."""
    share = right / count
    middle = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (middle - half) / (1 + z * z / count)), min(1.0, (middle + half) / (1 + z * z / count))
