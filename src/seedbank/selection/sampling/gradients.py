"""Gradients of the objective with respect to the initial noise, exact or cheaper.

============  ==========================================================================  ====================
mode          what is differentiated                                                      network memory
============  ==========================================================================  ====================
full          all steps, each recomputed when the gradient comes back through it           one step
last:k        the last k steps; what lies before them is taken for constant                one step
one_vjp@κ     one network Jacobian: that of the clean sample predicted at step κ·N,        one step
              pulled back by the gradient at the final latents
proxy:k       all of *another* sampler's steps: the same network in k steps                one step
proxy         all steps of the sampler set by ``Sampler.with_proxy``, a few-step sibling   one step
============  ==========================================================================  ====================

``one_vjp`` rests on two facts: the predicted clean sample changes with the latents much as the final one does, and only the
direction of the gradient is used. It keeps one network Jacobian so that the gradient stays on what the model can draw. ``proxy`` scores
and differentiates what the proxy draws; what is kept must be drawn and judged by the sampler itself.

No mode's peak memory grows with the number of steps, but for the latents between the steps, which ``full`` keeps (the network's
activations are some thousand times as large).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.sampling.batches import in_batches, join
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.sampler import Keys, Sampler, State
from seedbank.selection.search.objective import Evaluation

Evaluate = Callable[[Sequence[Tensor]], Evaluation]
"""Takes the last latents of a pass, gives the objective and its gradient with respect to each of them."""


@dataclass(frozen=True)
class Slope:
    """The objective at some noise and its gradient there, with what it cost."""

    gradient: Tensor
    """``[B, C, h, w]``; under truncated modes a direction, without a meaningful length. Zero where it is not finite."""
    evaluation: Evaluation
    network_evaluations: int
    """A backward pass through the network is counted as two evaluations, a recomputed forward pass as one."""
    finite: Tensor
    """``[B]``: false where the gradient held infinities or no numbers at all, and was set to zero."""


def slope(
    sampler: Sampler, noise: Tensor, evaluate: Evaluate, mode: Mode, *, trail: int = 1, keys: Keys | None = None
) -> Slope:
    """The objective and its gradient at ``noise`` ``[B, C, h, w]``; ``trail`` is how many last latents ``evaluate`` wants.

    In smaller batches where memory does not suffice for all at once; ``evaluate`` is then called for each.

    Raises:
        UsageError: mode ``proxy`` without a proxy.
        OutOfMemory: not even one image fits.
    """
    by = _sampler_of(sampler, mode)

    def some(piece: slice) -> Slope:
        gradient, found, cost = _pass(by, noise[piece], evaluate, mode, trail, keys and keys[piece])
        finite = gradient.flatten(1).isfinite().all(1)
        return Slope(gradient.where(finite[:, None, None, None], 0.0), found, cost, finite)

    found: Slope = join(in_batches(some, len(noise), room=sampler.room, kind=f"gradient {mode.kind}"))
    return found


def _sampler_of(sampler: Sampler, mode: Mode) -> Sampler:
    """Who draws what is scored: the sampler itself, or its proxy."""
    if mode.kind != "proxy":
        return sampler
    if mode.steps:
        return sampler.with_steps(mode.steps)
    if sampler.proxy is None:
        raise UsageError("expected a sampler with a proxy, got none; give one to Sampler.with_proxy or name 'proxy:4'")
    return sampler.proxy


def _pass(
    sampler: Sampler, noise: Tensor, evaluate: Evaluate, mode: Mode, trail: int, keys: Keys | None
) -> tuple[Tensor, Evaluation, int]:
    """Gradient, evaluation and cost in one batch."""
    count = len(sampler.steps)
    if mode.kind == "one_vjp":
        return _one_vjp(sampler, noise, evaluate, min(int(mode.at * count), count - 1), trail, keys)
    depth = min(mode.steps, count) if mode.kind == "last" else count
    return _unrolled(sampler, noise, evaluate, depth, trail, keys)


def _one_vjp(
    sampler: Sampler, noise: Tensor, evaluate: Evaluate, at: int, trail: int, keys: Keys | None
) -> tuple[Tensor, Evaluation, int]:
    """``g = (∂x̂0(x_k) / ∂x_k)ᵀ u``: the step ``at`` keeps its graph, all others run without.

    ``u`` is the gradient at the final latents; where the objective looks at earlier ones too, they are taken to move with the final ones.
    """
    states = _forward(sampler, [sampler.start(noise)], 0, at, trail, keys)
    before, step = states[-1], sampler.steps[at]
    leaf = before.latents.detach().requires_grad_()
    with torch.enable_grad():
        output = sampler.predict(leaf, step)
        clean = sampler.clean(leaf, output, step)
    with torch.no_grad():
        states = [*states, sampler.after(before, output.detach(), clean.detach(), at, keys)]
    states = _forward(sampler, states, at + 1, len(sampler.steps), trail, keys)
    found = evaluate([state.latents for state in states[-min(trail, len(sampler.steps)) :]])
    cotangent = torch.stack(tuple(found.cotangents)).sum(0)
    (gradient,) = torch.autograd.grad(clean, leaf, cotangent)
    return gradient, found, sampler.cost(len(noise)) + 2 * sampler.cost(len(noise), 1)


def _unrolled(
    sampler: Sampler, noise: Tensor, evaluate: Evaluate, depth: int, trail: int, keys: Keys | None
) -> tuple[Tensor, Evaluation, int]:
    """Back through the last ``depth`` steps, one at a time, each run again with its graph."""
    count = len(sampler.steps)
    shown = min(trail, count)
    states = _forward(sampler, [sampler.start(noise)], 0, count, max(depth, shown) + 1, keys)
    found = evaluate([state.latents for state in states[-shown:]])
    arriving = dict(zip(range(count - 1, -1, -1), reversed(found.cotangents), strict=False))
    latents, clean = torch.zeros_like(states[-1].latents), None
    for index in range(count - 1, count - 1 - depth, -1):
        del states[-1]
        latents, clean = _back_through(sampler, states[-1], index, latents + arriving.get(index, 0.0), clean, keys)
    gradient = latents * sampler.schedule.start if depth == count else latents
    return gradient, found, sampler.cost(len(noise)) + 3 * sampler.cost(len(noise), depth)


@torch.no_grad()
def _forward(sampler: Sampler, states: list[State], first: int, last: int, keep: int, keys: Keys | None) -> list[State]:
    """``states`` followed by those after the steps ``first`` to ``last`` (exclusive); only the last ``keep`` of them."""
    for index in range(first, last):
        states = [*states, sampler.advance(states[-1], index, keys)][-keep:]
    return states


def _back_through(
    sampler: Sampler, state: State, index: int, latents: Tensor, clean: Tensor | None, keys: Keys | None
) -> tuple[Tensor, Tensor | None]:
    """Gradients at the latents and the remembered clean sample before step ``index``, from those after it."""
    leaves = [state.latents.detach().requires_grad_()]
    if state.clean is not None:
        leaves.append(state.clean.detach().requires_grad_())
    with torch.enable_grad():
        after = sampler.advance(State(*leaves), index, keys)
    outputs, cotangents = [after.latents], [latents]
    if clean is not None and after.clean is not None:
        outputs, cotangents = [*outputs, after.clean], [*cotangents, clean]
    found = torch.autograd.grad(outputs, leaves, cotangents, materialize_grads=True)
    return found[0], found[1] if len(found) > 1 else None
