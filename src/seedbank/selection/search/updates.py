"""How a seed moves, given a gradient: pure functions of noise, start, gradient, moments and iteration."""

from __future__ import annotations

import hashlib
from math import cos, pi, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from seedbank.selection.sampling import sphere
from seedbank.selection.search.recipes import AdamW, Tangent

Moments = dict[str, Tensor]
"""Running averages of the gradients of each seed, ``[B, C, h, w]`` each: ``momentum`` for :class:`Tangent`, ``mean`` and ``square`` for
:class:`AdamW`."""


class Updated(NamedTuple):
    """Seeds ``[B, C, h, w]`` after a step, and the moments for the next one."""

    noise: Tensor
    moments: Moments


def initial_moments(update: Tangent | AdamW, noise: Tensor) -> Moments:
    """The moments before the first step: zeros."""
    names = ("momentum",) if isinstance(update, Tangent) else ("mean", "square")
    return {name: torch.zeros_like(noise) for name in names}


def step(
    update: Tangent | AdamW,
    noise: Tensor,
    gradient: Tensor,
    moments: Moments,
    *,
    start: Tensor,
    iteration: int,
    iterations: int,
) -> Updated:
    """One step down the gradient, each seed by itself.

    Args:
        update: how to step.
        noise: where the seeds are, ``[B, C, h, w]``.
        gradient: of the objective there, likewise.
        moments: what the step before gave, or :func:`initial_moments`.
        start: the seeds that they started from; the centre of the trust region.
        iteration: of this step, from 0.
        iterations: how many steps there are at most, for what falls from the first step to the last.
    """
    if isinstance(update, Tangent):
        return _tangent(update, noise, gradient, moments, start=start, progress=iteration / max(iterations - 1, 1))
    return _adamw(update, noise, gradient, moments, iteration)


def _tangent(
    update: Tangent, noise: Tensor, gradient: Tensor, moments: Moments, *, start: Tensor, progress: float
) -> Updated:
    """Momentum descent on the sphere through the start; R scales back to the start's own norm."""
    # 1. average unit gradients in the tangent space: m = μ m + (1 - μ) g / |g|
    # Unit gradients, so that the angle of a step does not depend on the scale of the objective.
    along = sphere.unit(sphere.tangent(gradient, noise))
    momentum = update.momentum * moments["momentum"] + (1 - update.momentum) * along

    # 2. step by an angle η that falls on a cosine: z = R(z - η |z0| m / |m|)
    angle = update.final_step + (update.step - update.final_step) * (1 + cos(pi * progress)) / 2
    length = sphere.norm(start)
    # m is a mean over tangent spaces of earlier points; projecting it once more takes the place of parallel transport.
    stepped = sphere.retract(noise - angle * length * sphere.unit(sphere.tangent(momentum, noise)), length)

    # 3. Langevin: mix in a share s of new white noise n, z = R(√(1 - s) z + √s n) (ORIGEN, NeurIPS 2025)
    share = update.langevin * (1 - progress)
    if share:
        stepped = sphere.retract(sqrt(1 - share) * stepped + sqrt(share) * _noise_of(noise), length)

    # 4. trust region: no further from the start than the cosine allows
    return Updated(sphere.trust(stepped, start, update.cosine_floor), {"momentum": momentum})


def _noise_of(noise: Tensor) -> Tensor:
    """White noise that follows from each seed's own values, so that a seed does not depend on the others of its batch."""
    digests = [hashlib.sha256(seed.numpy().tobytes()).digest() for seed in noise.detach().cpu().contiguous()]
    # Shifted to fit a signed 64-bit seed; drawn on the CPU, to be the same whatever device the seed is on.
    generators = [torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1) for digest in digests]
    return torch.stack([torch.randn(noise.shape[1:], generator=generator) for generator in generators]).to(noise)


def _adamw(update: AdamW, noise: Tensor, gradient: Tensor, moments: Moments, iteration: int) -> Updated:
    """AdamW with decoupled decay (arXiv 1711.05101, algorithm 2), element by element."""
    # t = iteration + 1 below, as the paper counts from 1.
    rate = update.rate / (update.drop if iteration >= update.drop_at else 1)
    first, second = update.betas
    # 1. moments: m = β1 m + (1 - β1) g, v = β2 v + (1 - β2) g²
    mean = first * moments["mean"] + (1 - first) * gradient
    square = second * moments["square"] + (1 - second) * gradient.square()
    # 2. bias corrections: m / (1 - β1^t), v / (1 - β2^t)
    scale = (square / (1 - second ** (iteration + 1))).sqrt() + update.epsilon
    # 3. step: z = z (1 - η λ) - η m̂ / (√v̂ + ε)
    stepped = noise * (1 - rate * update.decay) - rate * (mean / (1 - first ** (iteration + 1))) / scale
    return Updated(stepped, {"mean": mean, "square": square})
