"""What other methods do with a gradient, written from their equations, as pure functions in the style of :mod:`~.search.updates`.

=========  ===============================================================================================================
ReNO       Eyring et al., NeurIPS 2024: SGD with Nesterov momentum, gradient clipped by its norm, a prior on the seed's norm
DOODL      Wallace et al., ICCV 2023: momentum SGD, gradient clipped value by value, a little noise, back to the start's norm;
           spherical distance of cutouts to the references' centroid
SeedSelect the paper's stop rule, which its released code does not have
=========  ===============================================================================================================

Each runs with a gradient mode and, for ReNO, the objective of ours, so that only the optimiser differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from seedbank.selection.judging.targets import Targets
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.noise import draw
from seedbank.selection.search.cutouts import crop, random_cutouts
from seedbank.selection.search.objective import Samples
from seedbank.selection.search.updates import Moments


@dataclass(frozen=True)
class Nesterov:
    """ReNO's update. ``prior`` weighs ``½|z|² - (d - 1) log |z|``, the negative log density of a Gaussian's norm."""

    rate: float = 5.0
    momentum: float = 0.9
    clip: float = 0.1
    """The gradient, prior included, is scaled down to this length, seed by seed."""
    prior: float = 0.01
    kind: Literal["nesterov"] = "nesterov"


@dataclass(frozen=True)
class Doodl:
    """DOODL's update. Its rate is ours: the paper's is not known to us, and with it 50 steps turn a seed by up to about 0.15 radians."""

    rate: float = 0.3
    momentum: float = 0.9
    clip: float = 1e-3
    """Each value of the gradient is kept within this."""
    noise: float = 1e-4
    """Standard deviation of what is added after each step."""
    kind: Literal["doodl"] = "doodl"


Baseline = Nesterov | Doodl


def initial_moments(noise: Tensor) -> Moments:
    """The moments of both before the first step."""
    return {"momentum": torch.zeros_like(noise)}


def move(
    update: Baseline, noise: Tensor, *, start: Tensor, gradient: Tensor, moments: Moments, iteration: int
) -> tuple[Tensor, Moments]:
    """The seeds after one step from ``noise`` and the new moments; ``iteration`` counts from 0."""
    if isinstance(update, Nesterov):
        return _nesterov(update, noise, gradient, moments)
    return _doodl(update, noise, start=start, gradient=gradient, moments=moments, iteration=iteration)


def prior_gradient(noise: Tensor) -> Tensor:
    """``∇(½|z|² - (d - 1) log |z|) = z (1 - (d - 1) / |z|²)``: nothing where the norm is ``sqrt(d - 1)``."""
    # (d - 1), not d: the density of a chi-distributed norm r is r^(d-1) e^(-r²/2).
    d = noise[0].numel()
    return torch.as_tensor(noise * (1 - (d - 1) / sphere.norm(noise).square()))


def _nesterov(update: Nesterov, noise: Tensor, gradient: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
    """``g = clip(∇L + λ∇prior)``, ``v = μ v + g``, ``z = z - η (g + μ v)``."""
    total = gradient + update.prior * prior_gradient(noise)
    # g min(1, c / |g|).
    clipped = total * (update.clip / sphere.norm(total).clamp_min(1e-20)).clamp_max(1)
    # Not damped by (1 - μ), as in PyTorch's SGD; Nesterov's look-ahead is the second g + μ v.
    velocity = update.momentum * moments["momentum"] + clipped
    return noise - update.rate * (clipped + update.momentum * velocity), {"momentum": velocity}


def _doodl(
    update: Doodl, noise: Tensor, *, start: Tensor, gradient: Tensor, moments: Moments, iteration: int
) -> tuple[Tensor, Moments]:
    """``v = μ v + clip(∇L)``, ``z = R(z - η v + s ξ)``, where R scales back to the start's norm."""
    velocity = update.momentum * moments["momentum"] + gradient.clamp(-update.clip, update.clip)
    stepped = noise - update.rate * velocity + update.noise * _own_noise(start, iteration)
    return sphere.retract(stepped, sphere.norm(start)), {"momentum": velocity}


def _own_noise(start: Tensor, iteration: int) -> Tensor:
    """White noise that depends on the start and the iteration only, so that seeds in a batch do not feel each other."""
    rows = []
    for seed in start.detach().cpu():
        # The seed's values and the iteration's number, 4 bytes, are all the randomness there is.
        digest = hashlib.sha256(seed.numpy().tobytes() + iteration.to_bytes(4)).digest()
        channels, height, width = seed.shape
        rows.append(draw(str(int.from_bytes(digest[:8])), (channels, height, width)))
    return torch.stack(rows).to(start)


@dataclass(frozen=True)
class SphericalCentroid:
    """DOODL's objective: squared great-circle distance of cutouts to the references' centroid, ``2 asin²(|f - c| / 2)``.

    The cutouts are square windows at random places, the same in each evaluation.

    Attributes:
        targets: the references.
        cutouts: how many.
        smallest: side of the smallest window as a share of the picture's.
        root: what the windows derive from.
    """

    targets: Targets
    weight: float = 1.0
    cutouts: int = 16
    smallest: float = 0.5
    root: str = "0"
    name: str = "semantic"

    def __call__(self, samples: Samples) -> Tensor:
        """In 0..π²/2, the mean over the cutouts, ``[B]``."""
        # The same windows each time, so that values of different iterations can be compared.
        chosen = random_cutouts(self.root, "cutouts", self.cutouts, smallest=self.smallest)
        return torch.stack([self._distance(samples, crop(samples.images, cutout)) for cutout in chosen]).mean(0)

    def _distance(self, samples: Samples, images: Tensor) -> Tensor:
        # |f - c| = 2 sin(θ/2), so this is θ²/2; the clamp keeps off θ = π, where asin has an infinite slope.
        chord = torch.linalg.vector_norm(samples.encoder(images) - self.targets.centroid, dim=1)
        return torch.as_tensor(2 * (chord / 2).clamp(max=1 - 1e-6).asin().square())


def risen(objectives: Sequence[float], times: int = 3) -> int | None:
    """SeedSelect's stop rule: the loss rose in more than ``times`` iterations in a row.

    Returns:
        The iterate before the first of these rises, which is to be kept; None while the search goes on.
    """
    rises = 0
    for iteration in range(1, len(objectives)):
        rises = rises + 1 if objectives[iteration] > objectives[iteration - 1] else 0
        if rises > times:
            # Where this run of rises began: each iterate since is worse than the one before it.
            return iteration - rises
    return None
