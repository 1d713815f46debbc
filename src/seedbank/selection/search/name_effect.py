"""The effect of a concept's name: images asked for by name beside images that the same model draws for an empty prompt.

A model that knows something of what a name means draws nearer to the references with it than without, long before it gets an image right.
Where it does not, as with a name it never read, the two pools lie equally near, and luck alone decides how far the best of them reach.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seedbank.selection.judging.acceptance import Acceptance
from seedbank.selection.judging.targets import nearness
from seedbank.selection.sampling.noise import draws
from seedbank.selection.sampling.sampler import Sampler

UNNAMED = 64
"""Images drawn for the empty prompt; they tell 0.5 from 0.6."""
BATCH = 32


@torch.no_grad()
def name_effect(sampler: Sampler, acceptance: Acceptance, *, guard_embeddings: Tensor, embeddings: Tensor) -> float:
    """How often an image asked for by name is nearer to the references than one asked for nothing, mean of both judges, 0..1.

    Draws :data:`UNNAMED` plain seeds with the empty prompt, the same for every concept; costs ``sampler.cost(UNNAMED)``. The guard's
    contrast is not asked: it was made from the named images.

    Args:
        sampler: with the concept's prompt.
        acceptance: the references under both judges.
        guard_embeddings: of a pool of images drawn with the prompt, under the guard, ``[n, G]``.
        embeddings: of the same images, under the objective's encoder, ``[n, D]``.
    """
    unnamed = sampler.with_prompt("")
    guard, targets = acceptance.guard, acceptance.targets
    by_encoder: list[Tensor] = []
    by_guard: list[Tensor] = []
    for first in range(0, UNNAMED, BATCH):
        noise = draws("nameless", range(first, min(first + BATCH, UNNAMED)), sampler.noise_shape)
        images = unnamed.family.decode(unnamed.denoise(noise.to(unnamed.family.device))).clamp(0, 1)
        by_encoder.append(nearness(acceptance.encoder(images), targets.prototypes))
        # Prototypes alone, without the guard's contrast, on both sides of the comparison.
        by_guard.append(nearness(guard.embed(images), guard.prototypes))
    named_by_encoder = nearness(embeddings.to(targets.prototypes.device), targets.prototypes)
    named_by_guard = nearness(guard_embeddings.to(guard.prototypes.device), guard.prototypes)
    effects = (
        probability_of_superiority(named_by_encoder, torch.cat(by_encoder)),
        probability_of_superiority(named_by_guard, torch.cat(by_guard)),
    )
    return sum(effects) / 2


def probability_of_superiority(sample: Tensor, other: Tensor) -> float:
    """How often one of ``sample`` ``[n]`` is greater than one of ``other`` ``[m]``, ties half: 0.5 by chance (McGraw & Wong 1992)."""
    # [n, m]: P(X > Y) + P(X = Y) / 2, the Mann-Whitney U over n m.
    pairs = sample[:, None] - other[None]
    return float((pairs > 0).float().mean() + (pairs == 0).float().mean() / 2)
