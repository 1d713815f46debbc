"""Optimisation: gradient steps on several starts at once, each ending by its own rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from seedbank.selection.judging.guard import Guard
from seedbank.selection.records import Calibration
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.calibrate import calibrate
from seedbank.selection.sampling.gradients import Evaluation, ValueAndGrad, value_and_grad
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.sampler import Sampler, to_pixels
from seedbank.selection.search.checkpoint import Checkpoint
from seedbank.selection.search.cutouts import random_cutouts
from seedbank.selection.search.explore import ExplorationResult, choose_starts
from seedbank.selection.search.objective import Objective
from seedbank.selection.search.recipes import CALIBRATED, Recipe, Tangent
from seedbank.selection.search.results import Event, Observer
from seedbank.selection.search.rules import (
    Limits,
    StepMetrics,
    Trajectory,
    best_step,
    halve,
    leaders,
    stop_reason,
)
from seedbank.selection.search.seed_search import SeedSearch
from seedbank.selection.search.state import OptimisationState
from seedbank.selection.search.updates import step

SMALLEST_CUTOUT = 0.7
"""Side of the smallest cutout that a gradient is averaged over, as a share of the image's."""


@dataclass(frozen=True, kw_only=True)
class OptimisedStarts:
    """What optimisation gives.

    Attributes:
        state: the starts that are kept, at their end.
        network_evaluations: of the whole search so far.
        calibration: how the gradient mode was chosen; None where the recipe names one.
    """

    state: OptimisationState
    network_evaluations: int
    calibration: Calibration | None = None


def optimise(
    search: SeedSearch,
    exploration: ExplorationResult,
    *,
    starts: int,
    resume: Checkpoint | None = None,
    observe: Observer = lambda _event: None,
) -> OptimisedStarts:
    """Optimise the most promising seeds of a pool until ``starts`` of them are at their end; spare ones are dropped on the way."""
    recipe, pool, limits = search.recipe, exploration.pool, limits_of(search, exploration)

    # 1. Where to start from, or to go on.
    state = resume.state if resume else None
    chosen = state.starts if state else tuple(choose_starts(pool, recipe.begun(starts), recipe.explore))
    origin = search.seeds.noise(chosen).to(search.sampler.family.device)
    seeds = [search.seeds.seed(number) for number in chosen]
    spent = exploration.network_evaluations

    # 2. How gradients are had. What a search measures of that is part of it, and shared with no other.
    calibration = resume.calibration if resume else None
    if recipe.gradient == CALIBRATED:
        calibration = calibration or _calibrate(search, exploration, origin)
        spent += calibration.network_evaluations
        if not state:
            observe(Event("calibrate", 1, 1, Checkpoint(pool=pool, network_evaluations=spent, calibration=calibration)))

    # 3. Iterate.
    if resume and state:
        spent = resume.network_evaluations

    def on_iteration(iteration: Iteration) -> None:
        nonlocal spent
        spent += iteration.network_evaluations
        shown = [seeds[position] for position in iteration.evaluated]
        checkpoint = Checkpoint(pool=pool, network_evaluations=spent, calibration=calibration, state=iteration.state)
        event = Event(
            "optimise",
            iteration.number,
            recipe.iterations,
            checkpoint,
            images=dict(zip(shown, to_pixels(iteration.images), strict=True)),
            iteration=iteration.number,
        )
        observe(event)

    optimiser = Optimiser(
        sampler=search.sampler,
        objective=exploration.objective,
        guard=exploration.acceptance.guard,
        recipe=recipe,
        limits=limits,
        origin=origin,
        mode=Mode.parse(calibration.chosen if calibration else recipe.gradient),
        root=search.root,
        wanted=starts,
    )
    state = optimiser.run(state or OptimisationState.initial(chosen, origin, recipe), on_iteration)

    # 4. Keep as many as are wanted.
    state = state.take(leaders(state.trajectories, recipe, limits, wanted=starts))
    return OptimisedStarts(state=state, network_evaluations=spent, calibration=calibration)


def _calibrate(search: SeedSearch, exploration: ExplorationResult, origin: Tensor) -> Calibration:
    """On the two most promising starts, which are enough."""
    objective = exploration.objective
    return calibrate(search.sampler, origin[:2], objective.evaluate, last_steps=objective.last_steps)


def limits_of(search: SeedSearch, exploration: ExplorationResult) -> Limits:
    """What trajectories are measured against."""
    update = search.recipe.update
    return Limits(
        threshold=exploration.acceptance.needed,
        guard_deviation=exploration.pool.statistics().guard_std,
        semantic_goal=search.targets.semantic_goal,
        semantic_limit=exploration.acceptance.semantic_limit,
        cosine_floor=update.cosine_floor if isinstance(update, Tangent) else -1.0,
    )


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """What one iteration did.

    Attributes:
        number: of the iteration, from 0, which evaluates the starts themselves.
        state: after it.
        evaluated: positions of the B starts that were evaluated.
        images: of these, ``[B, 3, H, W]`` in 0..1, before the step.
        network_evaluations: what it cost.
    """

    number: int
    state: OptimisationState
    evaluated: tuple[int, ...]
    images: Tensor
    network_evaluations: int


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """The loop: everything that does not change from one iteration to the next.

    Attributes:
        sampler: makes images of seeds.
        objective: what is minimised.
        guard: accepts.
        recipe: steps, stops and what is kept.
        limits: what trajectories are measured against.
        origin: ``[M, C, h, w]``, the starts themselves.
        mode: how gradients are had.
        root: what the cutouts derive from.
        wanted: how many of the starts are to be kept in the end.
    """

    sampler: Sampler
    objective: Objective
    guard: Guard
    recipe: Recipe
    limits: Limits
    origin: Tensor
    mode: Mode
    root: str
    wanted: int

    def run(self, state: OptimisationState, observe: Callable[[Iteration], None]) -> OptimisationState:
        """Iterate until every start is finished; ``observe`` is called after each iteration."""
        while state.active:
            iteration = self.iterate(state)
            state = iteration.state
            observe(iteration)
        return state

    def iterate(self, state: OptimisationState) -> Iteration:
        """Evaluate the active starts, judge them, and move those that go on."""
        active, number = state.active, state.evaluations
        noise = state.noise[active]

        # 1. Value and gradient; the last iterate is not stepped from and needs no gradient.
        found = self._value_and_grad(noise, number) if number < self.recipe.iterations else None
        evaluation = found.evaluation if found else self.objective.score(self.sampler.denoise(noise))
        cost = found.network_evaluations if found else self.sampler.cost(len(noise))

        # 2. What the iterates are like, which of them to keep, and which starts are finished.
        metrics = self._metrics(noise, self.origin[active], evaluation, found, number)
        trajectories, stopped, best = list(state.trajectories), list(state.stopped_by), state.best.clone()
        for row, position in enumerate(active):
            trajectories[position] = (*trajectories[position], metrics[row])
            stopped[position] = stop_reason(trajectories[position], self.recipe, self.limits)
            if self._is_kept(trajectories[position]):
                best[position] = noise[row]
        stopped = halve(trajectories, stopped, self.recipe, self.limits, wanted=self.wanted)

        # 3. One step for the others.
        state = replace(state, best=best, trajectories=tuple(trajectories), stopped_by=tuple(stopped))
        if found:
            state = self._stepped(state, active, found.gradient, number)
        return Iteration(
            number=number,
            state=state,
            evaluated=tuple(active),
            images=evaluation.images,
            network_evaluations=cost,
        )

    def _value_and_grad(self, noise: Tensor, iteration: int) -> ValueAndGrad:
        cutouts = random_cutouts(self.root, f"views {iteration}", self.recipe.cutouts, smallest=SMALLEST_CUTOUT)
        evaluate = partial(self.objective.evaluate, cutouts=cutouts)
        return value_and_grad(self.sampler, noise, evaluate, self.mode, last_steps=self.objective.last_steps)

    def _metrics(
        self, noise: Tensor, origin: Tensor, evaluation: Evaluation, found: ValueAndGrad | None, iteration: int
    ) -> list[StepMetrics]:
        """Of each evaluated start."""
        terms = {name: values.tolist() for name, values in evaluation.terms.items()}
        objective, guard = evaluation.objective.tolist(), self._guard(evaluation, iteration)
        cosine = sphere.cosine(noise, origin).tolist()
        norm_z, whiteness = sphere.norm_score(noise).tolist(), sphere.whiteness(noise).tolist()
        gradient_norm = _tangent_norms(noise, found) if found else None
        return [
            StepMetrics(
                iteration=iteration,
                objective=objective[row],
                semantic=terms["semantic"][row],
                appearance=terms["appearance"][row],
                guard=guard[row],
                cosine_to_start=cosine[row],
                norm_z=norm_z[row],
                whiteness=whiteness[row],
                gradient_norm=gradient_norm[row] if gradient_norm else None,
                contrast=terms["contrast"][row] if "contrast" in terms else None,
            )
            for row in range(len(noise))
        ]

    def _guard(self, evaluation: Evaluation, iteration: int) -> list[float | None]:
        """Nearness under the guard: of all every so many iterations and in the end, in between of those that may be near enough."""
        rows = list(range(len(evaluation.images)))
        if iteration % self.recipe.guard_every and iteration < self.recipe.iterations:
            near = (evaluation.terms["semantic"] <= self.limits.semantic_goal).tolist()
            rows = [row for row in rows if near[row] and self.recipe.stop.near_enough]
        judged = self.guard.similarity(evaluation.images[rows]).tolist() if rows else []
        known = dict(zip(rows, judged, strict=True))
        return [known.get(row) for row in range(len(evaluation.images))]

    def _is_kept(self, trajectory: Trajectory) -> bool:
        """Whether the newest iterate is the one to keep."""
        return self.recipe.keep == "last" or best_step(trajectory, self.limits.threshold) is trajectory[-1]

    def _stepped(
        self, state: OptimisationState, active: Sequence[int], gradient: Tensor, iteration: int
    ) -> OptimisationState:
        """The state after a step of those of the ``active`` that are not finished; ``gradient`` has a row for each active one."""
        rows = [row for row, position in enumerate(active) if not state.stopped_by[position]]
        if not rows:
            return state
        going = [active[row] for row in rows]
        updated = step(
            self.recipe.update,
            state.noise[going],
            gradient[rows],
            {name: values[going] for name, values in state.moments.items()},
            start=self.origin[going],
            iteration=iteration,
            iterations=self.recipe.iterations,
        )
        noise = state.noise.clone()
        noise[going] = sphere.whiten(updated.noise, self.recipe.max_whiteness)
        moments = {name: values.clone() for name, values in state.moments.items()}
        for name, values in updated.moments.items():
            moments[name][going] = values
        return replace(state, noise=noise, moments=moments)


def _tangent_norms(noise: Tensor, found: ValueAndGrad) -> list[float]:
    """Lengths of the tangent gradients; infinite where the gradient was not finite."""
    lengths = sphere.norm(sphere.tangent(found.gradient, noise)).flatten()
    return lengths.where(found.finite, torch.inf).tolist()
