"""What an expansion gives: the pictures that were accepted, how the tries of each kind ended, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from seedbank.selection.seeds import Seed

Kind = Literal["neighbour", "mix"]


@dataclass(frozen=True)
class Offspring:
    """An accepted picture and the seed it comes from."""

    seed: Seed
    pixels: npt.NDArray[np.uint8]
    """``[H, W, 3]``, drawn alone, as it will be replayed."""
    guard: float
    copy: float
    """Highest correlation with a reference."""
    semantic: float
    """Semantic loss under the objective's encoder."""
    apart: float
    """Distance to the nearest picture accepted before it."""
    cosine: float
    """To its nearest parent."""
    norm_z: float
    whiteness: float


@dataclass(frozen=True)
class Tried:
    """How the tries of one kind of seed ended."""

    drawn: int = 0
    accepted: int = 0
    """By guard, semantic limit and copy guard, of those drawn in batches."""
    alike: int = 0
    """Accepted, but too like an earlier one."""
    undone: int = 0
    """Accepted in a batch and not when drawn alone."""

    @property
    def rate(self) -> float:
        """Share that is accepted; 0 of none."""
        return self.accepted / self.drawn if self.drawn else 0.0

    @property
    def promise(self) -> float:
        """Share that was kept, had one more been tried and kept."""
        return (self.accepted - self.alike - self.undone + 1) / (self.drawn + 1)


@dataclass(frozen=True)
class Expansion:
    """What came of one or more finds."""

    offspring: tuple[Offspring, ...]
    cosine: float
    """Of neighbours to their find: the smallest that was accepted often enough. Where those were too alike, it went further."""
    probed: dict[float, float]
    """Share that was accepted, by cosine."""
    apart: float
    """Least distance that was asked for."""
    bar: float
    """Nearness to the references under the guard that was asked for."""
    semantic_limit: float | None
    """Most semantic loss that was accepted; None for any."""
    tried: dict[Kind, Tried]
    vendi: float
    """Effective number of different pictures under the guard's embedding; 0 of none."""
    distances: tuple[float, float, float]
    """Least, mean and largest distance between two accepted pictures; zeros for fewer than two."""
    network_evaluations: int
    plain_samples_each: float
    """Cost of one accepted image in plain samples; infinite where none is."""
    seconds: float = field(default=0.0, compare=False)
    """What it took: the only thing that differs between two calls with the same arguments."""

    @property
    def rate(self) -> float:
        """Share of all seeds drawn that were accepted."""
        drawn = sum(tried.drawn for tried in self.tried.values())
        return sum(tried.accepted for tried in self.tried.values()) / drawn if drawn else 0.0
