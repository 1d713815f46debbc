"""Pure rules over the starts' traces: which iterate to keep, when to stop, and which starts to drop for others.

No tensors, so that they can be tested with written-down traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

from seedbank.selection.search.recipes import Recipe

NEAR_ENOUGH = "as near the references as they are to each other, and the guard agrees"

HEATS = {1: 0.5, 2: 0.0}
"""After how many fifths of the iterations which share of the spare starts is still in the race."""


@dataclass(frozen=True)
class Reading:
    """One iterate of one start, as it was evaluated."""

    iteration: int
    objective: float
    semantic: float
    appearance: float
    guard: float | None
    """None where the guard was not asked."""
    cosine_to_start: float
    norm_z: float
    whiteness: float
    gradient_norm: float | None
    """Of the tangent part; infinite where it was not a finite number, None at the last iterate, which needs no gradient."""
    contrast: float | None = None
    """How little the image is told from what plain seeds give instead; None where nothing is known of that."""


@dataclass(frozen=True)
class Limits:
    """What a trace is measured against, known before the first step.

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


def best_reading(trace: Sequence[Reading], threshold: float) -> Reading:
    """The iterate to keep: lowest objective among those the guard accepts, or else among those it finds no worse than the start.

    The start itself always qualifies, so the result is never worse than the start under the guard.
    """
    judged = [reading for reading in trace if reading.guard is not None]
    start = judged[0].guard or 0.0
    no_worse = [reading for reading in judged if reading.guard is not None and reading.guard >= start]
    accepted = [reading for reading in no_worse if reading.guard is not None and reading.guard >= threshold]
    return min(accepted or no_worse, key=lambda reading: reading.objective)


def kept_reading(trace: Sequence[Reading], recipe: Recipe, threshold: float) -> Reading:
    """The iterate that the recipe keeps."""
    return trace[-1] if recipe.keep == "last" else best_reading(trace, threshold)


def leaders(traces: Sequence[Sequence[Reading]], recipe: Recipe, limits: Limits, wanted: int) -> list[int]:
    """Positions of the ``wanted`` most promising starts, in order: first those with an acceptable iterate, then by the objective."""

    def promise(position: int) -> tuple[bool, float]:
        kept = kept_reading(traces[position], recipe, limits.threshold)
        acceptable = (kept.guard or 0.0) >= limits.threshold and kept.semantic <= limits.semantic_limit
        return not acceptable, kept.objective

    return sorted(sorted(range(len(traces)), key=promise)[:wanted])


def outrun(
    traces: Sequence[Sequence[Reading]], stopped: Sequence[str], recipe: Recipe, limits: Limits, wanted: int
) -> list[str]:
    """Why each start is finished, where there are more than ``wanted``: the others drop out once enough are near enough, and spare ones
    at the :data:`HEATS`."""
    if len(traces) <= wanted:
        return list(stopped)
    if sum(reason == NEAR_ENOUGH for reason in stopped) >= wanted:
        return [reason or "enough others are near enough" for reason in stopped]
    spare = len(traces) - wanted
    going_on = {fifths * recipe.iterations // 5: wanted + ceil(share * spare) for fifths, share in HEATS.items()}
    done = max(len(trace) for trace in traces) - 1
    if done not in going_on:
        return list(stopped)
    ahead = leaders(traces, recipe, limits, going_on[done])
    return [reason or ("" if row in ahead else "others were more promising") for row, reason in enumerate(stopped)]


def stop_reason(trace: Sequence[Reading], recipe: Recipe, limits: Limits) -> str:
    """Why this start is finished, in plain words; empty while it is not."""
    rules, newest = recipe.stop, trace[-1]
    if newest.gradient_norm is not None and not newest.gradient_norm < float("inf"):
        return "the gradient is not a finite number"
    if rules.near_enough and _near_enough(newest, limits):
        return NEAR_ENOUGH
    if rules.hacked and _falling(trace, limits.guard_deviation, rules.hacked):
        return "the guard falls while the objective improves"
    if rules.cornered and _cornered(trace, limits.cosine_floor, rules.cornered):
        return "at the edge of the trust region"
    if rules.stale and _stale(trace, rules.stale, rules.improvement):
        return "no more improvement"
    return "all iterations spent" if newest.iteration >= recipe.iterations else ""


def _near_enough(newest: Reading, limits: Limits) -> bool:
    agreed = newest.guard is not None and newest.guard >= limits.threshold
    return agreed and newest.semantic <= limits.semantic_goal


def _falling(trace: Sequence[Reading], drop: float, times: int) -> bool:
    guards = [reading.guard for reading in trace if reading.guard is not None]
    return len(guards) > times and all(guard < max(guards) - drop for guard in guards[-times:])


def _cornered(trace: Sequence[Reading], floor: float, times: int) -> bool:
    return len(trace) > times and all(reading.cosine_to_start < floor + 1e-4 for reading in trace[-times:])


def _stale(trace: Sequence[Reading], times: int, improvement: float) -> bool:
    if len(trace) <= times:
        return False
    before = min(reading.objective for reading in trace[:-times])
    lately = min(reading.objective for reading in trace[-times:])
    return lately > before - improvement * abs(before)
