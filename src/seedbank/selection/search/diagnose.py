"""Diagnosis: whether seeds can help at all, from a pool of plain seeds alone, before any gradient is taken.

Three recommendations. *sample*: plain seeds already give acceptable images often enough that drawing more of them is all it takes.
*optimise*: few or none do, but the pool's best reach far enough towards the references for gradient steps to go the rest. *unreachable*:
even they leave so much of the gap, under the objective's encoder and under the guard, that no seed of this model was seen to close it.

The gap is that between the pool's mean and where the references are to each other; the pool's best are the few per cent nearest under the
encoder. The guard is asked about the same ones: what only happens to be near under one of two embeddings leaves all of the gap under the
other.

How far a pool's best reach is partly luck, so before *unreachable* is said a second question is asked: what is the effect of the concept's
name (:mod:`.name_effect`)? Where images asked for by name lie nearer to the references than images asked for nothing, the model knows
something of what the name means, however rarely it gets it right, and gradient steps go further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from torch import Tensor

from seedbank.selection.judging.acceptance import Acceptance
from seedbank.selection.judging.targets import nearness

Recommendation = Literal["sample", "optimise", "unreachable"]
Reachability = Literal["plain", "optimised", "unreachable"]

SAMPLE_SHARE = 1 / 32
"""Share of acceptable plain seeds from which on drawing more of them is recommended: below it, optimising a start costs less."""
ONE_BEST_IN = 32
"""One in so many of the pool are its best; at least four, or half of a pool that is smaller than eight."""
GUARD_WEIGHT = 0.2
"""The guard's weight in the gap: it is coarser than the encoder about things that are far."""
GAP_LIMIT = 0.65
"""Gap beyond which nothing was reached whose name has no effect. On the shipped model gradient steps reach wingnut from 0.36 to 0.66 and
impeller from 0.48 to 0.68, by the luck of the pool; what it never saw lies beyond 0.75, but for one part in three that looks like one it
saw."""
FULL_POOL = 128
"""Plain seeds for which the limit holds. The best of fewer reach less far, so the limit rises from there to 1 for none."""
NAME_WEIGHT = 0.6
"""By how much the limit rises for each unit of the name's effect above chance (0.5). On the shipped model the name of starknob, which is
reached from up to 0.8, has an effect of 0.67 to 0.77, names that the model never read 0.44 to 0.57."""
OPTIMISED_COST = 23.0
"""Plain samples that one seed of the preset ``balanced`` costs, its share of everything included: mean over nine rare kinds."""
LORA_COST, INVERSION_COST = 60.0, 225.0
"""Plain samples that fine-tuning once costs: LoRA of 500 to 1000 steps, Textual Inversion of 3000."""


@dataclass(frozen=True)
class Diagnosis:
    """The recommendation and its evidence.

    Attributes:
        recommendation: see the module's text.
        seeds: plain seeds looked at.
        accepted: how many of them are acceptable, to the guard and to the objective's encoder.
        low: of a 95 % interval of that share (Wilson 1927).
        high: likewise.
        best: highest nearness to the references under the guard.
        needed: nearness that is acceptable to the guard.
        encoder_gap: share of the gap to the references that the pool's best leave, under the objective's encoder; 0 is none.
        guard_gap: likewise of the same seeds, under the guard.
        name_effect: how often an image asked for by name is nearer to the references than one asked for nothing, 0..1, see
            :func:`~seedbank.selection.search.name_effect.name_effect`; None where there was no need to ask.
    """

    recommendation: Recommendation
    seeds: int
    accepted: int
    low: float
    high: float
    best: float
    needed: float
    encoder_gap: float
    guard_gap: float
    name_effect: float | None = None

    @property
    def reachability(self) -> Reachability:
        """What the pool says of the concept, as a trial records it: ``plain`` where some plain seed is acceptable."""
        if self.accepted:
            return "plain"
        return "unreachable" if self.recommendation == "unreachable" else "optimised"

    @property
    def gap(self) -> float:
        """Share of the gap that the pool's best leave, by both judges together."""
        return (1 - GUARD_WEIGHT) * self.encoder_gap + GUARD_WEIGHT * self.guard_gap

    @property
    def gap_limit(self) -> float:
        """The most that gradient steps can close, by how many seeds were looked at and by the name's effect."""
        # 1 - (1 - L) min(1, n / N) + w (e - 0.5): L at a full pool of N seeds, and nothing for an effect e of chance.
        by_pool = 1 - (1 - GAP_LIMIT) * min(1.0, self.seeds / FULL_POOL)
        return by_pool if self.name_effect is None else by_pool + NAME_WEIGHT * (self.name_effect - 0.5)

    def with_name_effect(self, effect: float) -> Diagnosis:
        """The same, knowing the name's effect: *unreachable* may become *optimise*, and nothing else changes."""
        found = replace(self, name_effect=effect)
        hopeful = self.recommendation == "unreachable" and found.gap <= found.gap_limit
        return replace(found, recommendation="optimise") if hopeful else found

    @property
    def plain_samples_each(self) -> float:
        """Plain samples that one acceptable image costs by the way recommended; infinite where there is none."""
        if self.recommendation == "unreachable":
            return inf
        return self.seeds / self.accepted if self.recommendation == "sample" else OPTIMISED_COST

    @property
    def break_even(self) -> float:
        """Images beyond which fine-tuning once (LoRA) costs less than seeds for each; 0 where seeds are no way at all."""
        # A tuned model draws an image for one plain sample, so n images cost the same where LORA + n = each n.
        return LORA_COST / (self.plain_samples_each - 1) if self.plain_samples_each > 1 else inf

    @property
    def summary(self) -> str:
        """The recommendation in a sentence, with its numbers."""
        share = f"{self.accepted} of {self.seeds} plain seeds are acceptable (95 % interval {self.low:.0%} to {self.high:.0%})"
        if self.recommendation == "sample":
            return f"sample: {share}, so drawing about {self.plain_samples_each:.0f} plain seeds gives one acceptable image"
        gap = (
            f"the best leave {self.gap:.0%} of the gap between a plain image and the references "
            f"(encoder {self.encoder_gap:.0%}, guard {self.guard_gap:.0%})"
        )
        if self.name_effect is not None:
            gap += (
                f"; an image asked for by name is nearer to them than one for an empty prompt in {self.name_effect:.0%} of cases, "
                "where 50% is chance"
            )
        if self.recommendation == "optimise":
            return f"optimise: {share}, and {gap}, which gradient steps can close"
        return (
            f"unreachable: none of {self.seeds} plain seeds is acceptable, and {gap}; gradient steps close at most "
            f"{self.gap_limit:.0%}, so no seed of this model draws the concept"
        )


@dataclass(frozen=True)
class PoolNearness:
    """How near a pool of plain images is to the references, under one judge.

    Attributes:
        pool: nearness of each image, ``[n]``.
        references: mean nearness of each reference to the others.
    """

    pool: Tensor
    references: float

    def gap(self, best: Tensor) -> float:
        """``(h - mean_best) / (h - mean)``: share of the gap between the pool's mean and the references' ``h`` that its ``best`` leave.

        0 where the mean is there already.
        """
        whole = self.references - float(self.pool.mean())
        return max((self.references - float(self.pool[best].mean())) / whole, 0.0) if whole > 0 else 0.0


def diagnose(acceptance: Acceptance, *, guard_embeddings: Tensor, embeddings: Tensor) -> Diagnosis:
    """What a pool of n plain images promises.

    Args:
        acceptance: the rule, whose guard knows the pool.
        guard_embeddings: of the images, under the guard, ``[n, G]``.
        embeddings: of the same images, under the objective's encoder, ``[n, D]``.
    """
    guard, targets = acceptance.guard, acceptance.targets
    by_guard = guard.judge(guard_embeddings.to(guard.prototypes.device)).cpu()
    by_encoder = nearness(embeddings.to(targets.prototypes.device), targets.prototypes).cpu()
    return diagnose_nearness(
        guard=PoolNearness(by_guard, float(guard.near.mean())),
        encoder=PoolNearness(by_encoder, float(targets.leave_one_out().mean())),
        accepted=int(acceptance.acceptable(guard_embeddings, embeddings).sum()),
        needed=acceptance.needed,
    )


def diagnose_nearness(*, guard: PoolNearness, encoder: PoolNearness, accepted: int, needed: float) -> Diagnosis:
    """The same from numbers: nearness under both judges, how many images are acceptable, and what the guard asks for."""
    count = len(guard.pool)
    # 1. How often a plain seed suffices, and how sure that is.
    low, high = _interval(accepted, count)
    # 2. How far the pool's best by the encoder are on their way, under either judge.
    few = max(1, min(4, count // 2), count // ONE_BEST_IN)
    # The encoder picks and the guard is asked about the same images: each judge's own best would be luck twice.
    best = encoder.pool.argsort(descending=True, stable=True)[:few]
    gaps = encoder.gap(best), guard.gap(best)
    found = Diagnosis("optimise", count, accepted, low, high, float(guard.pool.max()), needed, *gaps)
    # 3. The recommendation.
    # Any acceptable plain seed rules out *unreachable*, whatever the gap.
    if accepted and accepted >= SAMPLE_SHARE * count:
        return replace(found, recommendation="sample")
    return replace(found, recommendation="unreachable") if not accepted and found.gap > found.gap_limit else found


def _interval(accepted: int, count: int) -> tuple[float, float]:
    """A 95 % interval of the share (Wilson 1927, which holds for few and for none)."""
    from scipy.stats import binomtest  # half a second of imports, for whoever diagnoses only

    found = binomtest(accepted, count).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
