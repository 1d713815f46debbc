"""Other methods that follow a gradient, run as methods of the benchmark: ReNO, DOODL, and SeedSelect with its paper's stop rule.

Comes in: a :class:`~seedbank.evaluation.harness.Problem`, the starts and a budget. Goes out: one seed for each start, judged. A
:class:`GradientBaseline` says what to do (update rule, objective, which iterate to keep); the equations of the rules are in
:mod:`seedbank.evaluation.baselines`. All starts are stepped together in one batch, each with moments of its own, and one that has ended
is neither moved nor paid for, so no start's outcome depends on the others but for rounding.

The budget is asked before each step: the first is reckoned at the most that any gradient mode costs, the next at what the last one
took. Drawing the kept seeds is reserved from the outset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from seedbank.evaluation.baselines import Baseline, Doodl, Nesterov, SphericalCentroid, initial_moments, move, risen
from seedbank.evaluation.harness import Budget, Meter, Outcome, Problem, Spent, finish
from seedbank.selection.judging.targets import make_paper_targets
from seedbank.selection.sampling.gradients import value_and_grad
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.noise import stacked, to_numpy
from seedbank.selection.search import updates
from seedbank.selection.search.objective import Objective, PaperAppearance, PaperSemantic
from seedbank.selection.search.recipes import AdamW
from seedbank.selection.search.updates import Moments
from seedbank.selection.seeds import Lineage, Seed

MOST_EXPENSIVE_GRADIENT = 4
"""A gradient costs at most so many drawings: one, and through all of it recomputation and a backward pass counted twice."""


@dataclass(frozen=True)
class GradientBaseline:
    """Another method's update rule on all starts at once.

    Attributes:
        name: as it stands in tables.
        update: the rule.
        objective: what is minimised.
        iterations: gradient steps at most.
        gradient: a mode of :mod:`seedbank.selection.sampling.gradients`.
        keep: ``best`` by the objective, or the ``last`` iterate.
        rises: a start ends when its objective rose more than so many times in a row, and the iterate before that is kept
            (:func:`~seedbank.evaluation.baselines.risen`); 0 for never.
    """

    name: str
    update: Baseline | AdamW
    objective: Callable[[Problem], Objective]
    iterations: int = 50
    gradient: str = "full"
    keep: Literal["best", "last"] = "best"
    rises: int = 0

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """Step until the iterations or the budget are spent, or every start has ended."""
        meter = Meter(budget, reserve=problem.sampler.cost(len(starts)))
        descent = _Descent(self, problem, stacked(starts).to(problem.sampler.family.device))
        trace: list[Spent] = []
        for iteration in range(self.iterations):
            if not descent.active or not meter.affords(descent.cost):
                break
            meter.spend(descent.step(iteration))
            trace.append(Spent(meter.spent, descent.mean_lowest))
        seeds = [self._seed(start, noise) for start, noise in zip(starts, descent.kept(), strict=True)]
        return finish(problem, seeds, meter, trace)

    def initial_moments(self, noise: Tensor) -> Moments:
        """What the update remembers before its first step."""
        return updates.initial_moments(self.update, noise) if isinstance(self.update, AdamW) else initial_moments(noise)

    def move(
        self, noise: Tensor, start: Tensor, gradient: Tensor, moments: Moments, iteration: int
    ) -> tuple[Tensor, Moments]:
        """One step."""
        if isinstance(self.update, AdamW):
            return updates.step(
                self.update, noise, gradient, moments, start=start, iteration=iteration, iterations=self.iterations
            )
        return move(self.update, noise, start=start, gradient=gradient, moments=moments, iteration=iteration)

    def _seed(self, start: Seed, noise: Tensor) -> Seed:
        lineage = Lineage(kind="optimised", parents=(start.digest,), note=self.name)
        return Seed(to_numpy(noise), lineage)


class Iterate(NamedTuple):
    """One point of a start's trajectory."""

    score: float
    noise: Tensor
    """``[C, h, w]`` on the CPU."""


class _Descent:
    """All starts of a gradient baseline on their way; those that ended are neither moved nor paid for."""

    def __init__(self, method: GradientBaseline, problem: Problem, start: Tensor) -> None:
        self.method, self.sampler, self.start = method, problem.sampler, start
        self.objective, self.mode = method.objective(problem), Mode.parse(method.gradient)
        self.noise, self.moments = start.clone(), method.initial_moments(start)
        self.trajectories: list[list[Iterate]] = [[] for _ in start]
        self.active = list(range(len(start)))
        # Until a first step has shown what a gradient costs.
        self._each = MOST_EXPENSIVE_GRADIENT * self.sampler.cost(1)

    @property
    def cost(self) -> int:
        """Of the coming step."""
        return self._each * len(self.active)

    @property
    def mean_lowest(self) -> float:
        """The lowest objective so far, averaged over the starts."""
        return sum(min(iterate.score for iterate in trajectory) for trajectory in self.trajectories) / len(
            self.trajectories
        )

    def step(self, iteration: int) -> int:
        """Evaluate the active starts and move those that go on; the cost."""
        rows = self.active
        found = value_and_grad(
            self.sampler, self.noise[rows], self.objective.evaluate, self.mode, last_steps=self.objective.last_steps
        )
        for place, score in zip(rows, found.evaluation.objective.tolist(), strict=True):
            # Cloned: on a CPU `cpu()` is a view of noise that the next step overwrites.
            self.trajectories[place].append(Iterate(score, self.noise[place].cpu().clone()))
        going = [row for row, place in enumerate(rows) if self._ended(place) is None]
        self._each = found.network_evaluations // len(rows)
        self.active = [rows[row] for row in going]
        if going:
            self._move(found.gradient[going], iteration)
        return found.network_evaluations

    def kept(self) -> list[Tensor]:
        """The iterate to keep of each start."""
        return [self._kept(place) for place in range(len(self.trajectories))]

    def _move(self, gradient: Tensor, iteration: int) -> None:
        rows = self.active
        moments = {name: values[rows] for name, values in self.moments.items()}
        moved, moments = self.method.move(self.noise[rows], self.start[rows], gradient, moments, iteration)
        self.noise[rows] = moved
        for name, values in moments.items():
            self.moments[name][rows] = values

    def _ended(self, place: int) -> int | None:
        """The iterate to keep where the objective kept rising."""
        return (
            risen([iterate.score for iterate in self.trajectories[place]], self.method.rises)
            if self.method.rises
            else None
        )

    def _kept(self, place: int) -> Tensor:
        ended, trajectory = self._ended(place), self.trajectories[place]
        if ended is not None:
            # The stop rule has its own idea of which iterate to keep, before `keep` is asked.
            return trajectory[ended].noise
        if self.method.keep == "last" or not trajectory:
            return self.noise[place]
        return min(trajectory, key=lambda iterate: iterate.score).noise


def _doodl_objective(problem: Problem) -> Objective:
    term = SphericalCentroid(problem.targets)
    return Objective((term,), problem.sampler.family.decode, problem.encoder, balanced=False)


def _paper_objective(problem: Problem) -> Objective:
    """SeedSelect's released losses, over the last three latents."""
    targets = make_paper_targets(problem.photos, problem.encoder, problem.sampler.family)
    terms = (PaperSemantic(targets), PaperAppearance(targets))
    return Objective(terms, problem.sampler.family.decode, problem.encoder, last_steps=3, balanced=False)


RENO = GradientBaseline("reno", Nesterov(), lambda problem: problem.objective)
DOODL = GradientBaseline("doodl", Doodl(), _doodl_objective, keep="last")
SEEDSELECT_STOP = GradientBaseline("seedselect_v1_stop", AdamW(), _paper_objective, iterations=30, keep="last", rises=3)
