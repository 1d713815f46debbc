"""Which gradient to use on *this* model: the cheapest that points where the exact one points, and really goes down.

How good a truncated gradient is depends on the model, its schedule and the guidance, so it is measured: on a couple of seeds, the cosine
of each mode's tangent gradient to the exact one's, and whether a small step along it lowers the objective of the sampler itself.
The report is a :class:`~seedbank.selection.records.Calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, sin

import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.records import Calibration, Check
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.batches import in_batches
from seedbank.selection.sampling.gradients import Evaluate, ValueAndGrad, value_and_grad
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.sampler import Keys, Sampler

MODES = ("one_vjp@0.3", "one_vjp@0.5", "one_vjp@0.7", "last:3")
"""What is tried where nothing else is asked for. Which step's Jacobian points best depends on the model and its guidance."""
FALLBACKS = ("last:3", "full")
"""Tried after all others, in this order; the last one is exact."""
AGREEMENT = 0.5
"""The least cosine to the exact gradient, on every seed: an angle of 60 degrees."""
ANGLE = 0.02
"""The trial step in radians along the shell, a third of the first step of a search."""


def calibrate(
    sampler: Sampler,
    noise: Tensor,
    evaluate: Evaluate,
    modes: Sequence[str] = MODES,
    *,
    last_steps: int = 1,
    keys: Keys | None = None,
) -> Calibration:
    """The cheapest of ``modes`` that agrees with the exact gradient at ``noise`` ``[B, C, h, w]`` and goes down there.

    Of modes that cost the same, the one with the best cosine. ``evaluate`` and ``last_steps`` as in
    :func:`~.gradients.value_and_grad`; two seeds are enough. Where none agrees, ``last:3`` is tried, and ``full`` is taken if
    that does not agree either. The same arguments give the same choice.

    Raises:
        UsageError: no noise, or a mode that is none.
    """
    if not len(noise):
        raise UsageError("expected the noise of at least one seed to calibrate on, got none; two are enough")
    noise = noise.to(sampler.family.device)
    # an ordered set: a fallback that is asked for too is measured once
    names = dict.fromkeys([*modes, *FALLBACKS])
    parsed = {name: Mode.parse(name) for name in names}
    exact = value_and_grad(sampler, noise, evaluate, parsed["full"], last_steps=last_steps, keys=keys)
    spent, checks = exact.network_evaluations, []
    for name in names:
        if name == "full":
            found = exact
        else:
            found = value_and_grad(sampler, noise, evaluate, parsed[name], last_steps=last_steps, keys=keys)
            spent += found.network_evaluations
        after = _after(sampler, noise, found, evaluate, last_steps=last_steps, keys=keys)
        spent += sampler.cost(len(noise))
        checks.append(_check(name, noise, found, exact, after))
    # cheapest first; of equals the one that agrees best on its worst seed
    checks.sort(key=lambda check: (check.network_evaluations, -min(check.cosines)))
    chosen, reason = _choose(checks, modes)
    return Calibration(chosen=chosen, reason=reason, checks=tuple(checks), network_evaluations=spent)


@torch.no_grad()
def _after(
    sampler: Sampler, noise: Tensor, found: ValueAndGrad, evaluate: Evaluate, *, last_steps: int, keys: Keys | None
) -> Tensor:
    """The sampler's own objective ``[B]`` a small step down the gradient, along the shell."""
    down = -sphere.unit(sphere.tangent(found.gradient, noise))
    # along the great circle: cos θ·z + sin θ·|z|·d with d ⊥ z, |d| = 1, is exactly as long as z
    moved = cos(ANGLE) * noise + sin(ANGLE) * sphere.norm(noise) * down

    def some(piece: slice) -> Tensor:
        latents = list(sampler.denoise_steps(moved[piece], keys=keys and keys[piece]))
        return evaluate(latents[-last_steps:]).objective

    return torch.cat(in_batches(some, len(noise), sizes=sampler.batch_sizes, kind="calibration"))


def _check(name: str, noise: Tensor, found: ValueAndGrad, exact: ValueAndGrad, after: Tensor) -> Check:
    # tangent parts only: a step along the shell has no radial one
    mine, theirs = (sphere.tangent(each.gradient, noise) for each in (found, exact))
    # a zero gradient has no direction (0/0): it counts as no agreement; an objective of NaN counts as no decrease
    cosines = tuple(sphere.cosine(mine, theirs).nan_to_num(0.0).tolist())
    decreases = tuple((exact.evaluation.objective - after).nan_to_num(-1.0).tolist())
    agrees = all(cosine >= AGREEMENT for cosine in cosines) and all(decrease > 0 for decrease in decreases)
    each = found.network_evaluations / len(noise)
    return Check(mode=name, cosines=cosines, decreases=decreases, network_evaluations=each, agrees=agrees)


def _choose(checks: Sequence[Check], modes: Sequence[str]) -> tuple[str, str]:
    """The cheapest that was asked for and agrees, else the first fallback that does, else the exact one."""
    for check in checks:
        if check.mode in modes and check.agrees:
            return (
                check.mode,
                f"the cheapest that agrees: cosine at least {min(check.cosines):.2f}, every step went down",
            )
    by_name = {check.mode: check for check in checks}
    for name in FALLBACKS:
        if by_name[name].agrees:
            return name, f"none of {', '.join(modes)} agrees with the exact gradient"
    return "full", "no gradient lowers the objective at this step; the exact one is all there is"
