"""What a selection gives, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from seedbank.selection.records import Cost, PoolStatistics, SamplerConfig, Scores
from seedbank.selection.search.checkpoint import Progress
from seedbank.selection.search.diagnose import Diagnosis, Reachability
from seedbank.selection.search.explore import Explored
from seedbank.selection.search.recipes import Recipe
from seedbank.selection.search.rules import Reading
from seedbank.selection.seeds import Seed

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A seed, the picture ``[H, W, 3]`` it makes alone, and its scores."""

    seed: Seed
    pixels: Pixels
    scores: Scores
    accepted: bool
    explanation: str


@dataclass(frozen=True)
class Find:
    """What one start led to. ``trace[i]`` is iterate ``i``; ``kept`` is the iterate that became ``picture``."""

    start: Seed
    picture: Picture
    kept: int
    trace: tuple[Reading, ...]
    stopped_by: str


@dataclass(frozen=True)
class Selection:
    """Everything a selection found."""

    recipe: Recipe
    sampler: SamplerConfig
    pool: PoolStatistics
    explored: Explored
    threshold: float
    """Nearness under the guard that an acceptable image has at least."""
    reachability: Reachability
    diagnosis: Diagnosis
    plain: tuple[Picture, ...]
    """The first seeds of the pool, as anybody would have drawn them."""
    finds: tuple[Find, ...]
    """One for each start; none where the concept is out of reach."""
    cost: Cost
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    """What this call took, by stage: the only thing that differs between two calls with the same arguments."""

    @property
    def accepted(self) -> tuple[Find, ...]:
        """The finds the guard accepts."""
        return tuple(find for find in self.finds if find.picture.accepted)


@dataclass(frozen=True)
class Event:
    """What an observer is told after each batch, iteration and picture.

    Attributes:
        stage: where the selection is.
        done: units of this stage done, of ``total`` at most.
        progress: give its bytes to ``resume`` to go on from here; None while pictures are drawn.
        images: ``[H, W, 3]`` of the starts evaluated in this iteration, by start.
        latest: the iteration these images belong to.
    """

    stage: Literal["explore", "optimise", "draw"]
    done: int
    total: int
    progress: Progress | None = None
    images: dict[Seed, Pixels] | None = None
    latest: int = 0


Observer = Callable[[Event], None]
