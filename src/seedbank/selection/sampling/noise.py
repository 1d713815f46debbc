"""Plain seeds: each drawn from its own integer, so that any of them can be drawn again alone; and the numbered seeds of a pool."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seedbank.selection.seeds import Lineage, Seed

GENERATOR = "torch.Generator(cpu)/randn float32"
NEGATED = f"{GENERATOR}, negated"


def integer(root: str, index: int) -> str:
    """The integer, as a decimal string, of draw ``index`` below ``root``: the first 8 bytes of SHA-256 of ``root/index``."""
    # 8 bytes are all that manual_seed takes; a string, because readers of JSON may lose digits beyond 2^53
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


@dataclass(frozen=True)
class PoolSeeds:
    """The seeds that an exploration draws, by number: plain seeds first, then whatever else was brought along.

    Attributes:
        root: what the plain seeds derive from.
        shape: (C, h, w) of a seed.
        plain: how many plain seeds there are.
        paired: every second one is the one before, negated: pairs cover noise space more evenly than independent draws.
        extra: seeds from elsewhere (inverted references), numbered after the plain ones.
    """

    root: str
    shape: tuple[int, int, int]
    plain: int
    paired: bool = False
    extra: tuple[Seed, ...] = ()

    def __len__(self) -> int:
        return self.plain + len(self.extra)

    def seed(self, index: int) -> Seed:
        """Seed ``index`` with its lineage."""
        if index >= self.plain:
            return self.extra[index - self.plain]
        if not (self.paired and index % 2):
            return plain_seed(self.root, index, self.shape)
        number = integer(self.root, index - 1)
        lineage = Lineage(kind="drawn", generator=NEGATED, integer=number)
        return Seed(to_numpy(-draw(number, self.shape)), lineage)

    def noise(self, indices: Sequence[int]) -> Tensor:
        """The noise of several of them, ``[B, C, h, w]``, on the CPU."""
        return torch.stack([torch.from_numpy(self.seed(index).latents.copy()) for index in indices])


def generator(root: str, *path: object) -> np.random.Generator:
    """Random numbers of their own for each place below ``root``; nothing global is touched."""
    text = "/".join(map(str, (root, *path)))
    # 16 bytes: NumPy's SeedSequence pools 128 bits
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16]))


def stacked(seeds: Sequence[Seed]) -> Tensor:
    """The noise ``[K, C, h, w]`` of seeds."""
    return torch.from_numpy(np.stack([seed.latents for seed in seeds]))
