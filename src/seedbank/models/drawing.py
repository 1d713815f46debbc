"""What a concept's model draws by itself: images of plain seeds, many at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from seedbank.concepts import Concept

Pixels = npt.NDArray[np.uint8]

BATCH = 32


def plain_images(concept: Concept, count: int, progress: Callable[[int, int], None]) -> list[Pixels]:
    """The images ``[H, W, 3]`` of the concept's first plain seeds."""
    from seedbank.models import load_pipeline
    from seedbank.selection.sampling.noise import draws
    from seedbank.selection.sampling.sampler import make_sampler

    model = load_pipeline(concept.model)
    sampler = make_sampler(model.pipeline, concept.prompt, model.sampler)
    images: list[Pixels] = []
    for first in range(0, count, BATCH):
        noise = draws(concept.seed, range(first, min(first + BATCH, count)), sampler.noise_shape)
        images.extend(sampler.draw(noise))
        progress(len(images), count)
    return images
