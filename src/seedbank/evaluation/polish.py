"""A short gradient climb for seeds that an expansion's guard rejected, each time towards other references.

A random share of the references is aimed at in each call, so that polished pictures do not all move to one place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import torch.nn.functional as F
from torch import Tensor

from seedbank.selection.judging.targets import Targets
from seedbank.selection.sampling.gradients import slope
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.noise import generator
from seedbank.selection.sampling.sampler import Sampler
from seedbank.selection.search.objective import Objective
from seedbank.selection.search.recipes import Tangent
from seedbank.selection.search.updates import first_memory, move


@dataclass(frozen=True)
class GradientPolish:
    """A :class:`~seedbank.selection.expansion.expand.Polish` that follows the objective's gradient along the shell.

    Attributes:
        sampler: makes images of seeds.
        objective: what to minimise, for the targets of some references.
        targets: of all references.
        root: what the choices of references derive from.
        iterations: gradient steps.
        share: of the references that one call aims at; at least one.
        gradient: a mode of :mod:`seedbank.selection.sampling.gradients`.
        update: the steps.
    """

    sampler: Sampler
    objective: Callable[[Targets], Objective]
    targets: Targets
    root: str = "0"
    iterations: int = 3
    share: float = 2 / 3
    gradient: str = "one_vjp@0.5"
    update: Tangent = field(default_factory=lambda: Tangent(step=0.06, final_step=0.02))

    def __call__(self, noise: Tensor, number: int) -> tuple[Tensor, int]:
        """The seeds after :attr:`iterations` steps, as long as before, and what that cost."""
        count = len(self.targets.prototypes)
        random = generator(self.root, "polish", number)
        rows = sorted(random.choice(count, max(1, ceil(self.share * count)), replace=False).tolist())
        objective, mode = self.objective(subset(self.targets, rows)), Mode.parse(self.gradient)
        start, memory, cost = noise, first_memory(self.update, noise), 0
        for iteration in range(self.iterations):
            found = slope(self.sampler, noise, objective.evaluate, mode, trail=objective.trail)
            noise, memory = move(self.update, noise, start, found.gradient, memory, iteration, self.iterations)
            cost += found.network_evaluations
        return noise, cost


def subset(targets: Targets, rows: Sequence[int]) -> Targets:
    """The targets of some references only."""
    chosen = list(rows)
    prototypes = targets.prototypes[chosen]
    centroid = F.normalize(prototypes.mean(0), dim=0)
    return replace(targets, prototypes=prototypes, centroid=centroid, latents=targets.latents[chosen])
