"""Exploitation: gradient steps on several starts at once, each ending by its own rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from seedbank.selection.judging.guard import Guard
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.gradients import Evaluation, ValueAndGrad, value_and_grad
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.sampler import Sampler
from seedbank.selection.search.objective import Objective
from seedbank.selection.search.recipes import Recipe
from seedbank.selection.search.rules import Limits, Reading, best_reading, outrun, stop_reason
from seedbank.selection.search.updates import Memory, first_memory, move
from seedbank.selection.search.views import windows

SMALLEST_VIEW = 0.7
"""Side of the smallest window that a gradient is averaged over, as a share of the picture's."""


@dataclass(frozen=True)
class Ways:
    """How far M starts have come; everything that is needed to go on.

    Attributes:
        starts: their indices in the pool.
        noise: ``[M, C, h, w]``, where each is now.
        best: ``[M, C, h, w]``, the iterate to keep of each.
        memory: of the update, ``[M, …]`` each.
        traces: the readings of each so far.
        stopped_by: why each is finished; empty while it is not.
    """

    starts: tuple[int, ...]
    noise: Tensor
    best: Tensor
    memory: Memory
    traces: tuple[tuple[Reading, ...], ...]
    stopped_by: tuple[str, ...]

    @property
    def active(self) -> list[int]:
        """Positions of the starts that are not finished."""
        return [position for position, reason in enumerate(self.stopped_by) if not reason]

    @property
    def iteration(self) -> int:
        """How many steps the active starts have made."""
        return max(len(trace) for trace in self.traces)

    def take(self, positions: Sequence[int]) -> Ways:
        """The starts at some positions alone, in that order."""
        rows = list(positions)
        return Ways(
            starts=tuple(self.starts[row] for row in rows),
            noise=self.noise[rows],
            best=self.best[rows],
            memory={name: values[rows] for name, values in self.memory.items()},
            traces=tuple(self.traces[row] for row in rows),
            stopped_by=tuple(self.stopped_by[row] for row in rows),
        )


def begin(starts: tuple[int, ...], noise: Tensor, recipe: Recipe) -> Ways:
    """M starts before their first evaluation."""
    empty = tuple(() for _ in starts)
    return Ways(starts, noise, noise.clone(), first_memory(recipe.update, noise), empty, tuple("" for _ in starts))


@dataclass(frozen=True)
class Climb:
    """The loop: everything that does not change from one iteration to the next."""

    sampler: Sampler
    objective: Objective
    guard: Guard
    recipe: Recipe
    limits: Limits
    origin: Tensor
    """``[M, C, h, w]``, the starts themselves."""
    mode: Mode
    """How gradients are had."""
    root: str
    """What the views derive from."""
    wanted: int
    """How many of the starts are to be kept in the end."""

    def run(self, ways: Ways, observe: Callable[[Ways, list[int], Tensor, int], None]) -> Ways:
        """Iterate until every start is finished.

        ``observe`` is told, after each iteration: how far all are, the positions evaluated in it, their images, and its cost.
        """
        while active := ways.active:
            ways, images, cost = self.iterate(ways, active)
            observe(ways, active, images, cost)
        return ways

    def iterate(self, ways: Ways, active: list[int]) -> tuple[Ways, Tensor, int]:
        """Evaluate the active starts, judge them, and move those that go on."""
        iteration = ways.iteration
        noise = ways.noise[active]
        found, slope, cost = self._evaluate(noise, iteration)
        readings = self._read(noise, self.origin[active], found, slope, iteration)
        traces, stopped, best = list(ways.traces), list(ways.stopped_by), ways.best.clone()
        for row, position in enumerate(active):
            traces[position] = (*traces[position], readings[row])
            stopped[position] = stop_reason(traces[position], self.recipe, self.limits)
            if self._keeps(traces[position]):
                best[position] = noise[row]
        stopped = outrun(traces, stopped, self.recipe, self.limits, self.wanted)
        moved, memory = self._move(ways, active, stopped, slope, iteration)
        return Ways(ways.starts, moved, best, memory, tuple(traces), tuple(stopped)), found.images, cost

    def _evaluate(self, noise: Tensor, iteration: int) -> tuple[Evaluation, ValueAndGrad | None, int]:
        if iteration >= self.recipe.iterations:
            return self.objective.score(self.sampler.denoise(noise)), None, self.sampler.cost(len(noise))
        views = windows(self.root, f"views {iteration}", self.recipe.views, smallest=SMALLEST_VIEW)
        evaluate = partial(self.objective.evaluate, views=views)
        found = value_and_grad(self.sampler, noise, evaluate, self.mode, trail=self.recipe.trail)
        return found.evaluation, found, found.network_evaluations

    def _read(
        self, noise: Tensor, origin: Tensor, found: Evaluation, slope: ValueAndGrad | None, iteration: int
    ) -> list[Reading]:
        count = len(noise)
        contrasts = found.terms["contrast"].tolist() if "contrast" in found.terms else [None] * count
        columns = (
            found.objective.tolist(),
            found.terms["semantic"].tolist(),
            found.terms["appearance"].tolist(),
            self._guards(found, iteration),
            sphere.cosine(noise, origin).tolist(),
            sphere.norm_score(noise).tolist(),
            sphere.whiteness(noise).tolist(),
            [None] * count if slope is None else _steepness(noise, slope),
            contrasts,
        )
        return [Reading(iteration, *row) for row in zip(*columns, strict=True)]

    def _guards(self, found: Evaluation, iteration: int) -> list[float | None]:
        """Nearness under the guard: of all every so many iterations and in the end, in between of those that may be near enough."""
        rows = list(range(len(found.images)))
        if iteration % self.recipe.guard_every and iteration < self.recipe.iterations:
            near = (found.terms["semantic"] <= self.limits.semantic_goal).tolist()
            rows = [row for row in rows if near[row] and self.recipe.stop.near_enough]
        judged = self.guard.similarity(found.images[rows]).tolist() if rows else []
        known = dict(zip(rows, judged, strict=True))
        return [known.get(row) for row in range(len(found.images))]

    def _keeps(self, trace: tuple[Reading, ...]) -> bool:
        """Whether the newest iterate is the one to keep."""
        return self.recipe.keep == "last" or best_reading(trace, self.limits.threshold) is trace[-1]

    def _move(
        self, ways: Ways, active: list[int], stopped: list[str], slope: ValueAndGrad | None, iteration: int
    ) -> tuple[Tensor, Memory]:
        going = [row for row, position in enumerate(active) if not stopped[position]]
        if slope is None or not going:
            return ways.noise, ways.memory
        positions = [active[row] for row in going]
        memory = {name: values[positions] for name, values in ways.memory.items()}
        stepped, remembered = move(
            self.recipe.update, ways.noise[positions], self.origin[positions], slope.gradient[going], memory, iteration,
            self.recipe.iterations,
        )  # fmt: skip
        noise = ways.noise.clone()
        noise[positions] = sphere.whiten(stepped, self.recipe.white)
        kept = {name: values.clone() for name, values in ways.memory.items()}
        for name, values in remembered.items():
            kept[name][positions] = values
        return noise, kept


def _steepness(noise: Tensor, slope: ValueAndGrad) -> list[float]:
    """Lengths of the tangent gradients; infinite where the gradient was not finite."""
    lengths = sphere.norm(sphere.tangent(slope.gradient, noise)).flatten()
    return lengths.where(slope.finite, torch.inf).tolist()
