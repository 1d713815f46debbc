"""Embeddings: how images of any size become unit vectors that can be compared."""

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


class PhotoEmbedder(Protocol):
    """A vision model that turns RGB images ``[B, 3, H, W]`` in 0..1 into unit vectors ``[B, D]``."""

    @property
    def card(self) -> ModelCard:
        """Which model it is."""

    def __call__(self, images01: Tensor) -> Tensor:
        """Embed a batch."""


def embed_images(embedder: PhotoEmbedder, images: Sequence[Image.Image]) -> Floats:
    """Unit vectors of RGB images of any size, shape (n, d), float64; one image at a time, as they differ in size."""
    import torch

    if not images:
        return np.zeros((0, 1))
    with torch.inference_mode():
        vectors = [
            embedder(torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)[None])
            for image in images
        ]
    return torch.cat(vectors).cpu().double().numpy()
