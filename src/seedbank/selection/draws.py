"""Plain seeds: each drawn from its own integer, so that any of them can be drawn again alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seedbank.seeds import Lineage, Seed

GENERATOR = "torch.Generator(cpu)/randn float32"


def integer(root: str, index: int) -> str:
    """The integer, as a decimal string, of draw ``index`` below ``root``: the first 8 bytes of SHA-256 of ``root/index``."""
    return str(int.from_bytes(hashlib.sha256(f"{root}/{index}".encode()).digest()[:8]))


def draw(number: str, shape: tuple[int, int, int]) -> Tensor:
    """The noise ``[C, h, w]`` of ``number``, on the CPU whatever the model is on."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(int(number)), dtype=torch.float32)


def draws(root: str, indices: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """The noise of several draws below ``root``, ``[B, C, h, w]``."""
    return torch.stack([draw(integer(root, index), shape) for index in indices])


def plain_seed(root: str, index: int, shape: tuple[int, int, int]) -> Seed:
    """Draw ``index`` below ``root`` as a seed with its lineage."""
    number = integer(root, index)
    return Seed(to_numpy(draw(number, shape)), Lineage(kind="drawn", generator=GENERATOR, integer=number))


def to_numpy(noise: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A copy of one seed's values."""
    return np.array(noise.detach().cpu().numpy(), np.float32)
