"""Seeds from the references themselves: noise that leads near each of them, mixed with white noise.

Running the sampler backwards from a photo's latents (DDIM inversion; Song et al., arXiv 2010.02502) gives noise from which the model draws
something like that photo, but it is not white and draws it too faithfully. Mixed with white noise, it is one more place to start from.
Such seeds compete with plain ones on the same score; none is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.noise import GENERATOR, draw, integer, to_numpy
from seedbank.selection.sampling.sampler import Sampler
from seedbank.selection.sampling.schedules import predicted_eps
from seedbank.selection.seeds import Lineage, Seed

ROUNDS = 3
"""Evaluations of the network for each step that is taken back."""
WHITE = 4.0
"""Mixes whose whiteness score is above this are repaired."""


@torch.no_grad()
def invert(sampler: Sampler, latents: Tensor) -> Tensor:
    """Noise ``[B, C, h, w]`` that leads to about these clean ``latents``: each step is taken back by a fixed point.

    With ``x' = a'·x0 + s'·e(x)`` after a step, ``x = a·(x' - s'·e(x)) / a' + s·e(x)`` before it is solved for x by :data:`ROUNDS`
    evaluations of the network (as in arXiv 2312.12540). Noise that a scheduler adds on the way cannot be taken back.
    """
    found = latents.to(sampler.family.device, torch.float32)
    # after the last step: all signal, no noise
    alpha_after, sigma_after = 1.0, 0.0
    for step in reversed(sampler.steps):
        after, found = found, found
        for _ in range(ROUNDS):
            eps = predicted_eps(sampler.prediction, step, found, sampler.predict(found, step))
            found = step.alpha * (after - sigma_after * eps) / alpha_after + step.sigma * eps
        alpha_after, sigma_after = step.alpha, step.sigma
    # a seed has variance 1; initial_state multiplies it again
    return found / sampler.schedule.init_noise_sigma


def inversion_cost(sampler: Sampler, references: int) -> int:
    """Network evaluations of inverting so many references."""
    return ROUNDS * sampler.cost(references)


def inverted_seeds(sampler: Sampler, latents: Tensor, root: str, shares: Sequence[float]) -> tuple[Seed, ...]:
    """For each reference's ``latents`` and each share β a seed ``R(√β z_inv + √(1-β) ξ)`` with white noise ξ and the norm of ξ."""
    if not shares:
        return ()
    whole = invert(sampler, latents).cpu()
    # inverted noise has another variance than 1, and then √β would not be its share
    unit = whole / whole.flatten(1).std(1).clamp_min(1e-12)[:, None, None, None]
    return tuple(
        _mixed(unit[row], share, f"{root}/inverted/{row}", row) for row in range(len(unit)) for share in shares
    )


def _mixed(noise: Tensor, share: float, root: str, row: int) -> Seed:
    # white noise of its own for each share, or the mixes of one reference would lean on each other
    number = integer(root, round(1000 * share))
    white = draw(number, (noise.shape[0], noise.shape[1], noise.shape[2]))[None]
    mixed = sphere.retract(sqrt(share) * noise[None] + sqrt(1 - share) * white, sphere.norm(white))
    note = f"reference {row}, share {share:g}"
    lineage = Lineage(kind="inverted", generator=GENERATOR, integer=number, note=note)
    return Seed(to_numpy(sphere.whiten(mixed, WHITE)[0]), lineage)
