"""A judge for which nothing that a model draws is like the references."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Blind:
    """An encoder, and a guard, that sees ``references`` pictures at once alike and everything else as their opposite."""

    references: int
    size: int = 32

    def __call__(self, images: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0] if len(images) == self.references else [-1.0, 0.0]]).expand(len(images), 2)
