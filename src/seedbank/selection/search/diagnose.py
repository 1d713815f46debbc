"""Diagnosis: whether seeds can help at all, from a pool of plain seeds alone, before any gradient is taken.

Three answers. *more search*: plain seeds already give acceptable images often enough that drawing more of them is all it takes. *optimise*:
few or none do, but the pool's best reach far enough towards the references for gradient steps to go the rest. *no*: even they leave so
much of the way, under the objective's encoder and under the guard, that no seed of this model was seen to get there.

The way is that from the pool's mean to where the references are to each other; its best are the few per cent nearest under the encoder. The
guard is asked about the same ones: what only happens to be near under one of two embeddings leaves all of the way under the other.

How far a pool's best reach is partly luck, so before *no* is said a second question is asked: what does the concept's name bring? Where
pictures asked for by name lie nearer to the references than pictures asked for nothing, the model knows something of what the name means,
however rarely it gets it right, and gradient steps go further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Literal

from torch import Tensor

Recommendation = Literal["sample", "optimise", "unreachable"]
Reachability = Literal["plain", "optimised", "unreachable"]

OFTEN = 1 / 32
"""Acceptable plain seeds of which at least this share are wanted for searching on: below it, optimising a start costs less."""
BEST = 32
"""One in so many of the pool are its best; at least four, or half of a pool that is smaller than eight."""
GUARDED = 0.2
"""Share of the guard's word in what is left of the way: it is coarser than the encoder about things that are far."""
FAR = 0.65
"""Share of the way beyond which nothing was reached that the name did not bring nearer. On the shipped model gradient steps reach wingnut
from 0.36 to 0.66 and impeller from 0.48 to 0.68, by the luck of the pool; what it never saw lies beyond 0.75, but for one part in three
that looks like one it saw."""
WHOLE = 128
"""Plain seeds for which the limit holds. The best of fewer reach less far, so the limit rises from there to all of the way for none."""
NAME_WORTH = 0.6
"""How much further gradient steps go for a name that brings pictures nearer, for each unit above chance (0.5). On the shipped model the
name of starknob, which is reached from up to 0.8, brings 0.67 to 0.77, names that the model never read 0.44 to 0.57."""
OPTIMISED_COST = 23.0
"""Plain samples that one seed of the preset ``balanced`` costs, its share of everything included: mean over nine rare kinds."""
LORA_COST, INVERSION_COST = 60.0, 225.0
"""Plain samples that fine-tuning once costs: LoRA of 500 to 1000 steps, Textual Inversion of 3000."""


@dataclass(frozen=True)
class Diagnosis:
    """The answer and its evidence.

    Attributes:
        recommendation: see the module's text.
        seeds: plain seeds looked at.
        accepted: how many of them are acceptable, to the guard and to the objective's encoder.
        low: of a 95 % interval of that share (Wilson).
        high: likewise.
        best: highest nearness to the references under the guard.
        needed: nearness that is acceptable to the guard.
        objective_left: share of the way to the references that the pool's best leave, under the objective's encoder; 0 is all of it gone.
        guard_left: likewise of the same seeds, under the guard.
        name_brings: how often a picture asked for by name is nearer to the references than one asked for nothing, 0..1, see
            :func:`nearer`; None where there was no need to ask.
    """

    recommendation: Recommendation
    seeds: int
    accepted: int
    low: float
    high: float
    best: float
    needed: float
    objective_left: float
    guard_left: float
    name_brings: float | None = None

    @property
    def reachability(self) -> Reachability:
        """What the pool says of the concept, as a trial records it: ``plain`` where some plain seed is acceptable."""
        if self.accepted:
            return "plain"
        return "unreachable" if self.recommendation == "unreachable" else "optimised"

    @property
    def left(self) -> float:
        """What both judges together leave of the way."""
        return (1 - GUARDED) * self.objective_left + GUARDED * self.guard_left

    @property
    def limit(self) -> float:
        """What may be left for gradient steps to go, by how many seeds were looked at and by what the name brings."""
        seen = 1 - (1 - FAR) * min(1.0, self.seeds / WHOLE)
        return seen if self.name_brings is None else seen + NAME_WORTH * (self.name_brings - 0.5)

    def told(self, name_brings: float) -> Diagnosis:
        """The same, knowing what the name brings: a *no* may become *optimise*."""
        found = replace(self, name_brings=name_brings)
        hopeful = self.recommendation == "unreachable" and found.left <= found.limit
        return replace(found, recommendation="optimise") if hopeful else found

    @property
    def each(self) -> float:
        """Plain samples that one acceptable image costs by the way advised; infinite where there is none."""
        if self.recommendation == "unreachable":
            return inf
        return self.seeds / self.accepted if self.recommendation == "sample" else OPTIMISED_COST

    @property
    def break_even(self) -> float:
        """Images beyond which fine-tuning once (LoRA) costs less than seeds for each; 0 where seeds are no way at all."""
        return LORA_COST / (self.each - 1) if self.each > 1 else inf

    @property
    def words(self) -> str:
        """The verdict in a sentence, with its numbers."""
        share = f"{self.accepted} of {self.seeds} plain seeds are acceptable ({self.low:.0%} to {self.high:.0%})"
        away = (
            f"the nearest leave {self.left:.0%} of the way from an ordinary one to the references "
            f"(encoder {self.objective_left:.0%}, guard {self.guard_left:.0%})"
        )
        if self.recommendation == "sample":
            return f"{share}: drawing more of them is enough, about {self.each:.0f} for each image"
        if self.name_brings is not None:
            away += (
                f"; asked for by name a picture is nearer than one asked for nothing in {self.name_brings:.0%} of cases"
            )
        if self.recommendation == "optimise":
            return f"{share}, and {away}: optimise"
        return (
            f"none of {self.seeds} plain seeds is acceptable, and {away}; at most {self.limit:.0%} may be left: "
            "no seed of this model will do"
        )


def diagnose(
    guard: Tensor, needed: float, guard_home: float, objective: Tensor, home: float, objective_needed: float = -inf
) -> Diagnosis:
    """What a pool of n plain seeds says.

    Args:
        guard: nearness of each image under the guard, contrast included, ``[n]``.
        needed: nearness that is acceptable.
        guard_home: mean nearness of the references to each other under the guard.
        objective: nearness of each image under the objective's encoder, ``[n]``.
        home: mean nearness of the references to each other under that encoder.
        objective_needed: nearness under that encoder that is acceptable; an image must be acceptable to both.
    """
    count, accepted = len(guard), int(((guard >= needed) & (objective >= objective_needed)).sum())
    best = objective.argsort(descending=True, stable=True)[: max(1, min(4, count // 2), count // BEST)]
    left = _left(objective, home, best), _left(guard, guard_home, best)
    low, high = _wilson(accepted, count)
    found = Diagnosis("optimise", count, accepted, low, high, float(guard.max()), needed, *left)
    if accepted and accepted >= OFTEN * count:
        return replace(found, recommendation="sample")
    return replace(found, recommendation="unreachable") if not accepted and found.left > found.limit else found


def nearer(named: Tensor, nameless: Tensor) -> float:
    """How often one of ``named`` ``[n]`` is greater than one of ``nameless`` ``[m]``: 0.5 by chance (McGraw & Wong 1992), ties half."""
    pairs = named[:, None] - nameless[None]
    return float((pairs > 0).float().mean() + (pairs == 0).float().mean() / 2)


def _left(near: Tensor, home: float, best: Tensor) -> float:
    """Share of the way from the mean of ``near`` to ``home`` that the ``best`` leave; 0 where the mean is there already."""
    way = home - float(near.mean())
    return max((home - float(near[best].mean())) / way, 0.0) if way > 0 else 0.0


def _wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (1927)."""
    share = right / count
    middle = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (middle - half) / (1 + z * z / count)), min(1.0, (middle + half) / (1 + z * z / count))
