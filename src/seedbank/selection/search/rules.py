"""Pure rules over the starts' trajectories: which iterate to keep, when to stop, and which starts to drop for others.

No tensors, so that they can be tested with written-down trajectories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite

from seedbank.selection.search.recipes import Recipe

NEAR_ENOUGH = "as near the references as they are to each other, and the guard agrees"

RUNGS = {1: 0.5, 2: 0.0}
"""Rungs of successive halving (Jamieson & Talwalkar, arXiv 1502.07943): after how many fifths of the iterations which share of the spare
starts goes on."""


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """One iterate of one start, as it was evaluated."""

    iteration: int
    objective: float
    semantic: float
    appearance: float
    guard: float | None
    """Nearness to the references under the guard; None where it was not asked."""
    cosine_to_start: float
    norm_z: float
    """Standard deviations of the seed's norm from that of white noise."""
    whiteness: float
    gradient_norm: float | None
    """Of the tangent part; infinite where the gradient was not finite, None at the last iterate, which needs none."""
    contrast: float | None = None
    """Contrastive loss against what plain seeds give instead; None where they give nothing else."""


Trajectory = tuple[StepMetrics, ...]
"""The iterates of one start from its own noise on; entry ``i`` is iteration ``i``."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a trajectory is measured against, known before the first step.

    Attributes:
        threshold: nearness under the guard that is acceptable.
        guard_deviation: standard deviation of the guard over the pool of plain seeds.
        semantic_goal: semantic loss that is near enough.
        semantic_limit: the most semantic loss that is accepted.
        cosine_floor: edge of the trust region; -1 for none.
    """

    threshold: float
    guard_deviation: float
    semantic_goal: float
    semantic_limit: float = inf
    cosine_floor: float = -1.0


def best_step(trajectory: Sequence[StepMetrics], threshold: float) -> StepMetrics:
    """The iterate to keep: lowest objective among those the guard accepts, or else among those it finds no worse than the start.

    The start itself always qualifies, so the result is never worse than the start under the guard.
    """
    judged = [(metrics, metrics.guard) for metrics in trajectory if metrics.guard is not None]
    # The guard is asked about iteration 0 in every recipe, so the first one judged is the start.
    start_guard = judged[0][1]
    no_worse = [(metrics, guard) for metrics, guard in judged if guard >= start_guard]
    accepted = [(metrics, guard) for metrics, guard in no_worse if guard >= threshold]
    return min((metrics for metrics, _ in accepted or no_worse), key=lambda metrics: metrics.objective)


def kept_step(trajectory: Sequence[StepMetrics], recipe: Recipe, threshold: float) -> StepMetrics:
    """The iterate that the recipe keeps."""
    return trajectory[-1] if recipe.keep == "last" else best_step(trajectory, threshold)


def leaders(trajectories: Sequence[Sequence[StepMetrics]], recipe: Recipe, limits: Limits, *, wanted: int) -> list[int]:
    """Positions of the ``wanted`` most promising starts, in order: first those with an acceptable iterate, then by the objective."""

    def promise(position: int) -> tuple[bool, float]:
        kept = kept_step(trajectories[position], recipe, limits.threshold)
        acceptable = (kept.guard or 0.0) >= limits.threshold and kept.semantic <= limits.semantic_limit
        return not acceptable, kept.objective

    # Chosen by promise, given back by position, so that rows stay in the order of the starts.
    return sorted(sorted(range(len(trajectories)), key=promise)[:wanted])


def halve(
    trajectories: Sequence[Sequence[StepMetrics]],
    stopped: Sequence[str],
    recipe: Recipe,
    limits: Limits,
    *,
    wanted: int,
) -> list[str]:
    """Why each start is finished, where more were begun than are ``wanted``.

    Spare starts are dropped at the :data:`RUNGS`, the least promising first; all others end once enough are near enough.

    Args:
        trajectories: of all starts so far.
        stopped: why each is finished by its own rules; empty while it is not.
        recipe: with the number of iterations that the rungs are shares of.
        limits: what is acceptable.
        wanted: starts that are to be left.
    """
    if len(trajectories) <= wanted:
        return list(stopped)
    if sum(reason == NEAR_ENOUGH for reason in stopped) >= wanted:
        return [reason or "enough others are near enough" for reason in stopped]
    spare = len(trajectories) - wanted
    kept_after = {fifths * recipe.iterations // 5: wanted + ceil(share * spare) for fifths, share in RUNGS.items()}
    # Steps made: iteration 0 evaluates the starts before any.
    done = max(len(trajectory) for trajectory in trajectories) - 1
    if done not in kept_after:
        return list(stopped)
    ahead = leaders(trajectories, recipe, limits, wanted=kept_after[done])
    return [
        reason or ("" if position in ahead else "others were more promising") for position, reason in enumerate(stopped)
    ]


def stop_reason(trajectory: Sequence[StepMetrics], recipe: Recipe, limits: Limits) -> str:
    """Why this start is finished, in plain words; empty while it is not."""
    rules, newest = recipe.stop, trajectory[-1]
    # First, because no step can follow from such a gradient.
    if newest.gradient_norm is not None and not isfinite(newest.gradient_norm):
        return "the gradient is not a finite number"
    if rules.near_enough and _near_enough(newest, limits):
        return NEAR_ENOUGH
    if rules.hacked and _falling(trajectory, limits.guard_deviation, rules.hacked):
        return "the guard falls while the objective improves"
    if rules.cornered and _cornered(trajectory, limits.cosine_floor, rules.cornered):
        return "at the edge of the trust region"
    if rules.stale and _stale(trajectory, rules.stale, rules.improvement):
        return "no more improvement"
    return "all iterations spent" if newest.iteration >= recipe.iterations else ""


def _near_enough(newest: StepMetrics, limits: Limits) -> bool:
    agreed = newest.guard is not None and newest.guard >= limits.threshold
    return agreed and newest.semantic <= limits.semantic_goal


def _falling(trajectory: Sequence[StepMetrics], drop: float, times: int) -> bool:
    guards = [metrics.guard for metrics in trajectory if metrics.guard is not None]
    return len(guards) > times and all(guard < max(guards) - drop for guard in guards[-times:])


def _cornered(trajectory: Sequence[StepMetrics], floor: float, times: int) -> bool:
    # The trust region puts a seed on its edge up to rounding, hence the 1e-4.
    return len(trajectory) > times and all(metrics.cosine_to_start < floor + 1e-4 for metrics in trajectory[-times:])


def _stale(trajectory: Sequence[StepMetrics], times: int, improvement: float) -> bool:
    if len(trajectory) <= times:
        return False
    before = min(metrics.objective for metrics in trajectory[:-times])
    lately = min(metrics.objective for metrics in trajectory[-times:])
    return lately > before - improvement * abs(before)
