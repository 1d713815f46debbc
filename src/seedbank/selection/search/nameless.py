"""What a concept's name brings: pictures asked for by name beside pictures that the same model draws when it is asked for nothing.

A model that knows something of what a name means draws nearer to the references with it than without, long before it gets a picture right.
Where it does not, as with a name it never read, the two pools lie equally near, and luck alone decides how far the best of them reach.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from seedbank.selection.judging.guard import Guard
from seedbank.selection.judging.targets import Encoder, Targets, nearness
from seedbank.selection.sampling.batches import Room
from seedbank.selection.sampling.noise import draws
from seedbank.selection.sampling.sampler import Sampler
from seedbank.selection.search.diagnose import nearer

NAMELESS = 64
"""Pictures drawn without a name; they tell 0.5 from 0.6."""
BATCH = 32


@torch.no_grad()
def name_brings(
    sampler: Sampler, embeddings: Tensor, looks: Tensor, targets: Targets, guard: Guard, encoder: Encoder
) -> float:
    """How often a picture asked for by name is nearer to the references than one asked for nothing, mean of both judges, 0..1.

    Draws :data:`NAMELESS` plain seeds with the empty prompt, the same for every concept; costs ``sampler.cost(NAMELESS)``.

    Args:
        sampler: with the concept's prompt.
        embeddings: of a pool of pictures drawn with it, by the objective's encoder, ``[n, D]``.
        looks: of the same pictures, by the guard, ``[n, G]``.
        targets: the references under the encoder.
        guard: the references under the guard; its contrast is not asked.
        encoder: the objective's.
    """
    nothing = replace(sampler, condition=sampler.family.condition("", sampler.config), proxy=None, room=Room())
    seen: list[Tensor] = []
    looked: list[Tensor] = []
    for first in range(0, NAMELESS, BATCH):
        noise = draws("nameless", range(first, min(first + BATCH, NAMELESS)), sampler.noise_shape)
        images = nothing.family.decode(nothing.run(noise.to(nothing.family.device))).clamp(0, 1)
        seen.append(nearness(encoder(images), targets.prototypes))
        looked.append(nearness(guard.embed(images), guard.prototypes))
    by_encoder = nearer(nearness(embeddings.to(targets.prototypes.device), targets.prototypes), torch.cat(seen))
    by_guard = nearer(nearness(looks.to(guard.prototypes.device), guard.prototypes), torch.cat(looked))
    return (by_encoder + by_guard) / 2
