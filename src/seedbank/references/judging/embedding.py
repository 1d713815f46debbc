"""Embeddings: how pictures of any size become unit vectors that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbank.models.card import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]


class Embeds(Protocol):
    """A vision model that turns pictures into unit vectors: ``[B, 3, H, W]`` in 0..1 to ``[B, D]``."""

    @property
    def card(self) -> ModelCard:
        """Which model it is."""

    def __call__(self, images01: Tensor) -> Tensor:
        """Embed a batch."""


def embed(embedder: Embeds, images: Sequence[Image.Image]) -> Floats:
    """Unit vectors of pictures of any size, shape (n, d), float64."""
    import torch

    if not images:
        return np.zeros((0, 1))
    with torch.inference_mode():
        made = [
            embedder(torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)[None])
            for image in images
        ]
    return torch.cat(made).double().numpy()
