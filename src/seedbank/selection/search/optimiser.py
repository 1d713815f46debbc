"""The loop of an optimisation: gradient steps on several starts at once, each ending by its own rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from seedbank.selection.judging.guard import Guard
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.gradients import Evaluation, ValueAndGrad, value_and_grad
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.sampler import Sampler
from seedbank.selection.search.cutouts import random_cutouts
from seedbank.selection.search.objective import Objective
from seedbank.selection.search.recipes import Recipe
from seedbank.selection.search.rules import Limits, StepMetrics, Trajectory, best_step, halve, stop_reason
from seedbank.selection.search.state import OptimisationState
from seedbank.selection.search.updates import step

SMALLEST_CUTOUT = 0.7
"""Side of the smallest cutout that a gradient is averaged over, as a share of the image's."""


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
        # Copies: checkpoints and observers still hold the state before.
        trajectories, stopped, best = list(state.trajectories), list(state.stopped_by), state.best.clone()
        for row, position in enumerate(active):
            trajectories[position] = (*trajectories[position], metrics[row])
            stopped[position] = stop_reason(trajectories[position], self.recipe, self.limits)
            if self._is_kept(trajectories[position]):
                best[position] = noise[row]
        # After the starts' own rules, since those that are near enough by them count as found.
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
        # Named by the iteration, so that a resumed search sees the same cutouts.
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
        # Of the tangent part: the radial one only changes the norm, which no step on the sphere follows.
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
        # One batch for all rows that are asked about; an empty one is never passed to a network.
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
        # A copy, as the state before must stay what it is.
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
