"""What a selection gives, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from seedbank.selection.records import Calibration, Cost, SamplerConfig, Scores
from seedbank.selection.search.checkpoint import Checkpoint
from seedbank.selection.search.diagnose import Diagnosis, Reachability
from seedbank.selection.search.pool import Pool
from seedbank.selection.search.recipes import Recipe
from seedbank.selection.search.rules import Trajectory
from seedbank.selection.seeds import Seed

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ScoredImage:
    """A seed, the image that it makes, and its scores.

    Attributes:
        seed: with its lineage.
        pixels: ``[H, W, 3]`` of 8 bits.
        scores: of exactly these pixels under the judges; the objective's are those before they were rounded.
        accepted: by the acceptance rule.
        explanation: why, in plain words.
    """

    seed: Seed
    pixels: Pixels
    scores: Scores
    accepted: bool
    explanation: str


@dataclass(frozen=True, kw_only=True)
class Find:
    """What one start led to.

    Attributes:
        start: the explored seed.
        image: of the seed that is kept.
        kept: the iterate that it is; ``trajectory[kept]``.
        trajectory: metrics of every iterate; entry 0 is the start itself.
        stopped_by: why there are no more, in plain words.
    """

    start: Seed
    image: ScoredImage
    kept: int
    trajectory: Trajectory
    stopped_by: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Everything a selection found.

    Attributes:
        recipe: how it searched.
        config: how it sampled.
        pool: everything explored, as the guard judges it in the end.
        threshold: nearness under the guard that an acceptable image has at least.
        diagnosis: what the pool promised.
        plain: the first seeds of the pool, as anybody would have drawn them.
        finds: one for each start; none where the concept is out of reach.
        calibration: how the gradient mode was chosen; None where the recipe names one, and where nothing was optimised.
        cost: of everything.
        notes: what whoever asked should know: so far, whether a part of the prompt was cut off.
        seconds: what this call took, by stage: the only thing that differs between two calls with the same arguments.
    """

    recipe: Recipe
    config: SamplerConfig
    pool: Pool
    threshold: float
    diagnosis: Diagnosis
    plain: tuple[ScoredImage, ...]
    finds: tuple[Find, ...]
    calibration: Calibration | None
    cost: Cost
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def reachability(self) -> Reachability:
        """Whether plain seeds draw the concept, or optimised ones, or none."""
        return self.diagnosis.reachability

    @property
    def accepted(self) -> tuple[Find, ...]:
        """The finds whose images are accepted."""
        return tuple(find for find in self.finds if find.image.accepted)


@dataclass(frozen=True)
class Event:
    """What an observer gets after each batch and iteration.

    Attributes:
        stage: where the selection is.
        done: units of this stage done, of ``total`` at most.
        checkpoint: give it to ``resume`` to go on from here; None while the images of the result are drawn.
        images: ``[H, W, 3]`` of the starts evaluated in this iteration, by start.
        iteration: that these images belong to.
        semantic_goal: semantic loss at which a start is near enough; None while nothing is optimised.
    """

    stage: Literal["explore", "calibrate", "optimise", "draw"]
    done: int
    total: int
    checkpoint: Checkpoint | None = None
    images: Mapping[Seed, Pixels] = field(default_factory=dict)
    iteration: int = 0
    semantic_goal: float | None = None


Observer = Callable[[Event], None]
