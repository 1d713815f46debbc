"""How a seed moves, given a gradient: pure functions of (seed, start, gradient, memory, iteration)."""

from __future__ import annotations

import hashlib
from math import cos, pi, sqrt

import torch
from torch import Tensor

from seedbank.selection.sampling import sphere
from seedbank.selection.search.recipes import AdamW, Tangent

Memory = dict[str, Tensor]
"""What an update remembers of each seed; every entry is ``[B, …]``."""


def first_memory(update: Tangent | AdamW, noise: Tensor) -> Memory:
    """The memory before the first step."""
    names = ("momentum",) if isinstance(update, Tangent) else ("mean", "square")
    return {name: torch.zeros_like(noise) for name in names}


def move(
    update: Tangent | AdamW,
    noise: Tensor,
    start: Tensor,
    gradient: Tensor,
    memory: Memory,
    iteration: int,
    iterations: int,
) -> tuple[Tensor, Memory]:
    """The seeds after one step from ``noise`` and the new memory; ``iteration`` counts from 0."""
    if isinstance(update, Tangent):
        return _tangent(update, noise, start, gradient, memory, iteration / max(iterations - 1, 1))
    return _adamw(update, noise, gradient, memory, iteration)


def _tangent(
    update: Tangent, noise: Tensor, start: Tensor, gradient: Tensor, memory: Memory, progress: float
) -> tuple[Tensor, Memory]:
    """Along the shell: ``m = μ m + (1 - μ) g/|g|``, ``z = R(z - η |z0| m/|m|)``, where R scales back to the start's own norm.

    Then, with a share s of fresh noise n, ``z = R(√(1-s) z + √s n)`` (Langevin; ORIGEN, NeurIPS 2025).
    """
    along = sphere.unit(sphere.tangent(gradient, noise))
    momentum = update.momentum * memory["momentum"] + (1 - update.momentum) * along
    angle = update.final_step + (update.step - update.final_step) * (1 + cos(pi * progress)) / 2
    length = sphere.norm(start)
    stepped = sphere.retract(noise - angle * length * sphere.unit(sphere.tangent(momentum, noise)), length)
    share = update.langevin * (1 - progress)
    if share:
        stepped = sphere.retract(sqrt(1 - share) * stepped + sqrt(share) * _fresh(noise), length)
    return sphere.trust(stepped, start, update.cosine_floor), {"momentum": momentum}


def _fresh(noise: Tensor) -> Tensor:
    """White noise that follows from each seed's own values, so that seeds in a batch do not feel each other."""
    digests = [hashlib.sha256(seed.numpy().tobytes()).digest() for seed in noise.detach().cpu().contiguous()]
    generators = [torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1) for digest in digests]
    return torch.stack([torch.randn(noise.shape[1:], generator=generator) for generator in generators]).to(noise)


def _adamw(update: AdamW, noise: Tensor, gradient: Tensor, memory: Memory, iteration: int) -> tuple[Tensor, Memory]:
    """AdamW with decoupled decay, element by element, so that seeds in a batch do not feel each other."""
    rate = update.rate / (update.drop if iteration >= update.drop_at else 1)
    first, second = update.betas
    mean = first * memory["mean"] + (1 - first) * gradient
    square = second * memory["square"] + (1 - second) * gradient.square()
    scale = (square / (1 - second ** (iteration + 1))).sqrt() + update.epsilon
    stepped = noise * (1 - rate * update.decay) - rate * (mean / (1 - first ** (iteration + 1))) / scale
    return stepped, {"mean": mean, "square": square}
