"""Gradients of the objective with respect to the initial noise, exact or cheaper.

============  ==========================================================================  ====================
mode          what is differentiated                                                      network memory
============  ==========================================================================  ====================
full          all steps, each recomputed in the backward pass (checkpointed)              one step
last:k        the last k steps; the latents before them are taken for the noise           one step
one_vjp@κ     one network Jacobian: that of the clean sample predicted at step κ·N,       one step
              pulled back by the gradient at the final latents
============  ==========================================================================  ====================

``one_vjp`` rests on two facts: the predicted clean sample changes with the latents much as the final one does, and only the
direction of the gradient is used. It keeps one network Jacobian so that the gradient stays on what the model can draw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seedbank.errors import UsageError
from seedbank.selection.objective import Evaluation
from seedbank.selection.sampler import Sampler, Step

Evaluate = Callable[[Sequence[Tensor]], Evaluation]
"""Takes the last latents of a pass, gives the objective and its gradient with respect to each of them."""

_MODE = re.compile(r"(?P<full>full)|last:(?P<last>[1-9]\d*)|one_vjp@(?P<at>0?\.\d+|0|1)")


@dataclass(frozen=True)
class Mode:
    """How the gradient is had: ``full``, ``last:3``, ``one_vjp@0.5``."""

    kind: Literal["full", "last", "one_vjp"]
    steps: int = 0
    at: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a mode; raises :class:`~seedbank.errors.UsageError` for what is none."""
        found = _MODE.fullmatch(text)
        if not found:
            raise UsageError(f"expected a gradient mode 'full', 'last:k' or 'one_vjp@x' with 0 <= x <= 1, got {text!r}")
        if found["full"]:
            return cls("full")
        return cls("last", steps=int(found["last"])) if found["last"] else cls("one_vjp", at=float(found["at"]))


@dataclass(frozen=True)
class Slope:
    """The objective at some noise and its gradient there, with what it cost."""

    gradient: Tensor
    """``[B, C, h, w]``; under truncated modes a direction, without a meaningful length."""
    evaluation: Evaluation
    network_evaluations: int
    """A backward pass through the network is counted as two evaluations, a recomputed forward pass as one."""


def slope(sampler: Sampler, noise: Tensor, evaluate: Evaluate, mode: Mode, *, trail: int = 1) -> Slope:
    """The objective and its gradient at ``noise`` ``[B, C, h, w]``; ``trail`` is how many last latents ``evaluate`` wants."""
    if mode.kind == "one_vjp":
        return _one_vjp(sampler, noise, evaluate, min(int(mode.at * len(sampler.steps)), len(sampler.steps) - 1))
    count = len(sampler.steps) if mode.kind == "full" else min(mode.steps, len(sampler.steps))
    return _unrolled(sampler, noise, evaluate, count, trail)


def _one_vjp(sampler: Sampler, noise: Tensor, evaluate: Evaluate, at: int) -> Slope:
    """``g = (∂x̂0(x_k) / ∂x_k)ᵀ ∂L/∂x_0``: the step ``at`` keeps its graph, all others run without."""
    step = sampler.steps[at]
    leaf = sampler.run(noise, 0, at).detach().requires_grad_()
    with torch.enable_grad():
        output = sampler.predict(leaf, step)
        clean = sampler.clean(leaf, output, step)
    after = sampler.move(leaf.detach(), output.detach(), step)
    found = evaluate([sampler.run(after, at + 1)])
    (gradient,) = torch.autograd.grad(clean, leaf, found.cotangents[-1])
    return Slope(gradient, found, sampler.cost(len(noise)) + 2 * sampler.cost(len(noise), 1))


def _unrolled(sampler: Sampler, noise: Tensor, evaluate: Evaluate, count: int, trail: int) -> Slope:
    """Through the last ``count`` steps, each checkpointed, so that memory does not grow with their number."""
    leaf = sampler.run(noise, 0, len(sampler.steps) - count).detach().requires_grad_()
    latents, kept = leaf, []
    with torch.enable_grad():
        for step in sampler.steps[-count:]:
            latents = checkpoint(_step, sampler, latents, step, use_reentrant=False)
            kept.append(latents)
    last = kept[-trail:]
    found = evaluate(last)
    (gradient,) = torch.autograd.grad(last, leaf, found.cotangents)
    return Slope(gradient, found, sampler.cost(len(noise)) + 3 * sampler.cost(len(noise), count))


def _step(sampler: Sampler, latents: Tensor, step: Step) -> Tensor:
    return sampler.move(latents, sampler.predict(latents, step), step)
