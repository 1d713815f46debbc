"""The objective and its gradient with respect to the initial noise, exact or cheaper.

============  ==========================================================================  ====================
mode          what is differentiated                                                      network memory
============  ==========================================================================  ====================
full          all steps, each recomputed when the gradient comes back through it           one step
last:k        the last k steps; what lies before them is taken for constant                one step
one_vjp@κ     one network Jacobian: that of the x0 predicted at step κ·N, pulled back by   one step
              the gradient at the final latents
============  ==========================================================================  ====================

``one_vjp`` rests on two facts: the predicted x0 changes with the latents much as the final latents do, and only the direction of the
gradient is used. It keeps one network Jacobian so that the gradient stays on what the model can draw.

No mode's peak memory grows with the number of steps, but for the latents between the steps, which ``full`` keeps (the network's
activations are some thousand times as large).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from seedbank.selection.sampling.batches import in_batches, join
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.sampler import Keys, Sampler, State


@dataclass(frozen=True)
class Evaluation:
    """An objective at one point.

    Attributes:
        objective: ``[B]``; lower is better.
        terms: what it adds up, ``[B]`` each by name, without their weights.
        images: ``[B, 3, H, W]`` in 0..1.
        embeddings: ``[B, D]`` of the final images.
        cotangents: its gradient with respect to each of the latents it looked at; empty where none was asked for.
    """

    objective: Tensor
    terms: dict[str, Tensor]
    images: Tensor
    embeddings: Tensor
    cotangents: tuple[Tensor, ...] = ()


Evaluate = Callable[[Sequence[Tensor]], Evaluation]
"""Takes the last latents of a pass, gives the objective and its gradient with respect to each of them."""


@dataclass(frozen=True)
class ValueAndGrad:
    """The objective at some noise and its gradient there, with what it cost."""

    gradient: Tensor
    """``[B, C, h, w]``; under truncated modes a direction, without a meaningful length. Zero where it is not finite."""
    evaluation: Evaluation
    network_evaluations: int
    """A backward pass through the network is counted as two evaluations, a recomputed forward pass as one."""
    finite: Tensor = field(default_factory=lambda: torch.ones(0, dtype=torch.bool))
    """``[B]``: false where the gradient held infinities or NaN, and was set to zero."""


def value_and_grad(
    sampler: Sampler, noise: Tensor, evaluate: Evaluate, mode: Mode, *, last_steps: int = 1, keys: Keys | None = None
) -> ValueAndGrad:
    """The objective and its gradient at ``noise`` ``[B, C, h, w]``; ``last_steps`` is how many last latents ``evaluate`` wants.

    In smaller batches where memory does not suffice for all at once; ``evaluate`` is then called for each.

    Raises:
        OutOfMemory: not even one image fits.
    """

    def some(piece: slice) -> ValueAndGrad:
        some_keys = keys and keys[piece]
        if mode.kind == "one_vjp":
            found = _one_vjp(sampler, noise[piece], evaluate, mode, last_steps=last_steps, keys=some_keys)
        else:
            found = _unrolled(sampler, noise[piece], evaluate, mode, last_steps=last_steps, keys=some_keys)
        # image by image: one that overflows must not stop the others of its batch
        finite = found.gradient.flatten(1).isfinite().all(1)
        return replace(found, gradient=found.gradient.where(finite[:, None, None, None], 0.0), finite=finite)

    found: ValueAndGrad = join(in_batches(some, len(noise), sizes=sampler.batch_sizes, kind=f"gradient {mode.kind}"))
    return found


def _one_vjp(
    sampler: Sampler, noise: Tensor, evaluate: Evaluate, mode: Mode, *, last_steps: int, keys: Keys | None
) -> ValueAndGrad:
    """``g = (∂x̂0(x_k) / ∂x_k)ᵀ u``: the step ``k = κ·N`` keeps its graph, all others run without.

    ``u`` is the gradient at the final latents; where the objective looks at earlier ones too, they are taken to move with the final ones.
    """
    count = len(sampler.steps)
    at = min(int(mode.at * count), count - 1)
    # 1. to x_k without a graph
    states = _forward(sampler, [sampler.initial_state(noise)], range(at), keep=last_steps, keys=keys)
    before, step = states[-1], sampler.steps[at]
    # 2. x̂0(x_k) with its graph
    leaf = before.latents.detach().requires_grad_()
    with torch.enable_grad():
        output = sampler.predict(leaf, step)
        x0 = sampler.predict_x0(leaf, output, step)
    # 3. on to the final latents without a graph, and u there
    with torch.no_grad():
        states = [*states, sampler.scheduler_step(before, output.detach(), x0.detach(), at, keys)]
    states = _forward(sampler, states, range(at + 1, count), keep=last_steps, keys=keys)
    found = evaluate([state.latents for state in states[-min(last_steps, count) :]])
    u = torch.stack(tuple(found.cotangents)).sum(0)
    # 4. g = Jᵀu, with ∂x_k/∂noise taken for a multiple of the identity: only the direction of g is used
    (gradient,) = torch.autograd.grad(x0, leaf, u)
    # all steps forwards, x_k's among them, and one way back through the network, which counts twice
    cost = sampler.cost(len(noise)) + 2 * sampler.cost(len(noise), 1)
    return ValueAndGrad(gradient, found, cost)


def _unrolled(
    sampler: Sampler, noise: Tensor, evaluate: Evaluate, mode: Mode, *, last_steps: int, keys: Keys | None
) -> ValueAndGrad:
    """Back through the last steps (all of them for ``full``), one at a time, each run again with its graph."""
    count = len(sampler.steps)
    depth, shown = min(mode.steps, count) if mode.kind == "last" else count, min(last_steps, count)
    # 1. forwards without a graph, keeping the states that are gone back through
    states = _forward(sampler, [sampler.initial_state(noise)], range(count), keep=max(depth, shown) + 1, keys=keys)
    found = evaluate([state.latents for state in states[-shown:]])
    # 2. backwards step by step; each of the latents that the objective looked at adds its own gradient
    # by the step whose result it is the gradient of; early steps have none
    arriving = dict(zip(range(count - 1, -1, -1), reversed(found.cotangents), strict=False))
    gradient = State(torch.zeros_like(states[-1].latents))
    for index in range(count - 1, count - 1 - depth, -1):
        # what the step gave is done with; the last state is now the one before it
        del states[-1]
        gradient = replace(gradient, latents=gradient.latents + arriving.get(index, 0.0))
        gradient = _back_through(sampler, states[-1], index, gradient, keys=keys)
    # 3. to the noise itself
    whole = gradient.latents * sampler.schedule.init_noise_sigma if depth == count else gradient.latents
    # all steps forwards; each one gone back through again forwards (1) and backwards (2)
    cost = sampler.cost(len(noise)) + 3 * sampler.cost(len(noise), depth)
    return ValueAndGrad(whole, found, cost)


@torch.no_grad()
def _forward(sampler: Sampler, states: list[State], steps: range, *, keep: int, keys: Keys | None) -> list[State]:
    """``states`` followed by those after each of ``steps``; only the last ``keep`` of them."""
    for index in steps:
        states = [*states, sampler.denoise_step(states[-1], index, keys)][-keep:]
    return states


def _back_through(sampler: Sampler, state: State, index: int, gradient: State, *, keys: Keys | None) -> State:
    """The gradient at ``state``, before step ``index``, from the one after it: at the latents and at the x0 that is looked back at."""
    leaves = [state.latents.detach().requires_grad_()]
    if state.previous_x0 is not None:
        leaves.append(state.previous_x0.detach().requires_grad_())
    # (∂after/∂before)ᵀ·gradient from a step run again: checkpointing (Chen et al., arXiv 1604.06174) with a segment a step
    with torch.enable_grad():
        after = sampler.denoise_step(State(*leaves), index, keys)
    outputs, cotangents = [after.latents], [gradient.latents]
    if gradient.previous_x0 is not None and after.previous_x0 is not None:
        outputs, cotangents = [*outputs, after.previous_x0], [*cotangents, gradient.previous_x0]
    # a step of first order does not use previous_x0: its gradient is then zero, not None
    return State(*torch.autograd.grad(outputs, leaves, cotangents, materialize_grads=True))
