"""What a model draws by itself: images of plain seeds, many at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from seedbank.models import LoadedModel

log = logging.getLogger(__name__)
Pixels = npt.NDArray[np.uint8]

BATCH = 32


def plain_images(
    model: LoadedModel, prompt: str, *, root: str, count: int, progress: Callable[[int, int], None]
) -> list[Pixels]:
    """The images ``[H, W, 3]`` that ``model`` draws of ``prompt`` from the first ``count`` plain seeds of ``root``."""
    from seedbank.selection.sampling.noise import draws
    from seedbank.selection.sampling.sampler import make_sampler

    sampler = make_sampler(model.pipeline, prompt, model.sampler)
    for note in (*model.notes, *sampler.notes):
        log.warning("%s", note)
    images: list[Pixels] = []
    for first in range(0, count, BATCH):
        noise = draws(root, range(first, min(first + BATCH, count)), sampler.noise_shape)
        images.extend(sampler.draw(noise))
        progress(len(images), count)
    return images
