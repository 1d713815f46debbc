"""The state of an optimisation: everything that is needed to go on with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seedbank.selection.search.recipes import Recipe
from seedbank.selection.search.rules import Trajectory
from seedbank.selection.search.updates import Moments, initial_moments


@dataclass(frozen=True, kw_only=True)
class OptimisationState:
    """How far M starts have come.

    Attributes:
        starts: their numbers in the pool.
        noise: ``[M, C, h, w]``, where each is now.
        best: ``[M, C, h, w]``, the iterate to keep of each.
        moments: of the update, ``[M, C, h, w]`` each.
        trajectories: the metrics of each so far.
        stopped_by: why each is finished; empty while it is not.
    """

    starts: tuple[int, ...]
    noise: Tensor
    best: Tensor
    moments: Moments
    trajectories: tuple[Trajectory, ...]
    stopped_by: tuple[str, ...]

    @classmethod
    def initial(cls, starts: Sequence[int], noise: Tensor, recipe: Recipe) -> OptimisationState:
        """M starts with their noise ``[M, C, h, w]`` before their first evaluation."""
        return cls(
            starts=tuple(starts),
            noise=noise,
            best=noise.clone(),
            moments=initial_moments(recipe.update, noise),
            trajectories=tuple(() for _ in starts),
            stopped_by=tuple("" for _ in starts),
        )

    @property
    def active(self) -> list[int]:
        """Positions of the starts that are not finished."""
        return [position for position, reason in enumerate(self.stopped_by) if not reason]

    @property
    def evaluations(self) -> int:
        """How often the active starts were evaluated: one more than the steps that they made, once they were at all."""
        return max(len(trajectory) for trajectory in self.trajectories)

    def to(self, device: torch.device) -> OptimisationState:
        """The same with its tensors on ``device``."""
        moments = {name: values.to(device) for name, values in self.moments.items()}
        return replace(self, noise=self.noise.to(device), best=self.best.to(device), moments=moments)

    def take(self, positions: Sequence[int]) -> OptimisationState:
        """The starts at some positions alone, in that order."""
        rows = list(positions)
        return OptimisationState(
            starts=tuple(self.starts[row] for row in rows),
            noise=self.noise[rows],
            best=self.best[rows],
            moments={name: values[rows] for name, values in self.moments.items()},
            trajectories=tuple(self.trajectories[row] for row in rows),
            stopped_by=tuple(self.stopped_by[row] for row in rows),
        )
