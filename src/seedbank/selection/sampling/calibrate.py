"""Which gradient to use on *this* model: the cheapest that points where the exact one points, and really goes down.

How good a truncated gradient is depends on the model, its schedule and the guidance, so it is measured: on a couple of seeds, the cosine
of each mode's tangent gradient to the exact one's, and whether a small step along it lowers the objective of the sampler itself.
The report is plain data; who wants to keep it brings a mapping from keys to text (:func:`calibrated`). Nothing here reads or writes.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from math import cos, sin
from typing import Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.records import Record, canonical_json, sha256
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


class Check(Record):
    """What one mode did on each seed."""

    mode: str
    cosines: tuple[float, ...]
    """Of its tangent gradient to the exact one's."""
    decreases: tuple[float, ...]
    """By how much a step of :data:`ANGLE` along it lowered the objective; negative where it rose."""
    network_evaluations: float
    """Of one gradient of one image."""
    agrees: bool
    """Whether every cosine is high enough and every step went down."""


class Calibration(Record):
    """The choice of a gradient mode and what it rests on."""

    kind: Literal["seedbank.calibration/1"] = "seedbank.calibration/1"
    chosen: str
    reason: str
    checks: tuple[Check, ...] = Field(min_length=1)
    """From the cheapest to the most expensive; of those that cost the same, the one that agrees best comes first."""
    network_evaluations: int
    """What finding out cost."""


def calibrate(
    sampler: Sampler,
    noise: Tensor,
    evaluate: Evaluate,
    modes: Sequence[str] = MODES,
    *,
    trail: int = 1,
    keys: Keys | None = None,
) -> Calibration:
    """The cheapest of ``modes`` that agrees with the exact gradient at ``noise`` ``[B, C, h, w]`` and goes down there.

    Of modes that cost the same, the one with the best cosine. ``evaluate`` and ``trail`` as in
    :func:`~.gradients.value_and_grad`; two seeds are enough. Where none agrees, ``last:3`` is tried, and ``full`` is taken if
    that does not agree either. The same arguments give the same choice.

    Raises:
        UsageError: no noise, or a mode that is none.
    """
    if not len(noise):
        raise UsageError("expected the noise of at least one seed to calibrate on, got none; two are enough")
    noise = noise.to(sampler.family.device)
    names = dict.fromkeys([*modes, *FALLBACKS])
    parsed = {name: Mode.parse(name) for name in names}
    exact = value_and_grad(sampler, noise, evaluate, parsed["full"], trail=trail, keys=keys)
    spent, checks = exact.network_evaluations, []
    for name in names:
        if name == "full":
            found = exact
        else:
            found = value_and_grad(sampler, noise, evaluate, parsed[name], trail=trail, keys=keys)
            spent += found.network_evaluations
        after = _after(sampler, noise, found, evaluate, trail=trail, keys=keys)
        spent += sampler.cost(len(noise))
        checks.append(_check(name, noise, found, exact, after))
    checks.sort(key=lambda check: (check.network_evaluations, -min(check.cosines)))
    chosen, reason = _choose(checks, modes)
    return Calibration(chosen=chosen, reason=reason, checks=tuple(checks), network_evaluations=spent)


def calibrated(
    cache: MutableMapping[str, str],
    key: str,
    sampler: Sampler,
    noise: Tensor,
    evaluate: Evaluate,
    modes: Sequence[str] = MODES,
    *,
    trail: int = 1,
    keys: Keys | None = None,
) -> Calibration:
    """What ``cache`` holds under ``key``, or else a new calibration, which is put there as JSON.

    Anything under ``key`` that is no calibration is replaced.
    """
    try:
        return Calibration.model_validate_json(cache[key])
    except (KeyError, ValidationError):
        found = calibrate(sampler, noise, evaluate, modes, trail=trail, keys=keys)
        cache[key] = found.model_dump_json()
        return found


def calibration_key(sampler: Sampler, *, model: str, prompts: str = "", modes: Sequence[str] = MODES) -> str:
    """The digest of everything that a calibration depends on.

    ``model`` is the digest of the model's content; ``prompts`` names the kind of prompt and objective that share one calibration.
    """
    scheduler = {name: str(value) for name, value in sorted(sampler.scheduler.config.items())}
    facts = {
        "model": model,
        "scheduler": {**scheduler, "class": type(sampler.scheduler).__name__},
        "sampler": sampler.config.model_dump(mode="json"),
        "dtype": str(sampler.family.dtype),
        "prompts": prompts,
        "modes": list(modes),
    }
    return sha256(canonical_json(facts))


@torch.no_grad()
def _after(
    sampler: Sampler, noise: Tensor, found: ValueAndGrad, evaluate: Evaluate, *, trail: int, keys: Keys | None
) -> Tensor:
    """The sampler's own objective ``[B]`` a small step down the gradient, along the shell."""
    down = -sphere.unit(sphere.tangent(found.gradient, noise))
    moved = cos(ANGLE) * noise + sin(ANGLE) * sphere.norm(noise) * down

    def some(piece: slice) -> Tensor:
        latents = list(sampler.denoise_steps(moved[piece], keys=keys and keys[piece]))
        return evaluate(latents[-trail:]).objective

    return torch.cat(in_batches(some, len(noise), sizes=sampler.batch_sizes, kind="calibration"))


def _check(name: str, noise: Tensor, found: ValueAndGrad, exact: ValueAndGrad, after: Tensor) -> Check:
    mine, theirs = (sphere.tangent(each.gradient, noise) for each in (found, exact))
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
