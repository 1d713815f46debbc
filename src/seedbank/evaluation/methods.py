"""The methods of the benchmark that are not recipes of :mod:`seedbank.selection`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import fmean as mean
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from seedbank.evaluation.baselines import Baseline, Doodl, Nesterov, SphericalCentroid, initial_moments, move, risen
from seedbank.evaluation.engines import BayesianMixes, Engine, EvolvedMixes, RestartedNeighbours
from seedbank.evaluation.finetuning import (
    LORA,
    SMALL_INVERSION,
    SMALL_LORA,
    FineTuned,
    Training,
    lora,
    textual_inversion,
)
from seedbank.evaluation.harness import Budget, Meter, Method, Outcome, Problem, Spent, finish
from seedbank.evaluation.runners import run_engine
from seedbank.selection.judging.targets import make_paper_targets
from seedbank.selection.sampling.gradients import value_and_grad
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.noise import plain_seed, stacked, to_numpy
from seedbank.selection.search import updates
from seedbank.selection.search.objective import Objective, PaperAppearance, PaperSemantic
from seedbank.selection.search.recipes import AdamW
from seedbank.selection.search.updates import Moments
from seedbank.selection.seeds import Lineage, Seed

MOST_EXPENSIVE_GRADIENT = 4
"""A gradient costs at most so many drawings: one, and through all of it recomputation and a backward pass counted twice."""


@dataclass(frozen=True)
class Plain:
    """The starts as they are."""

    name: str = "plain"

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """Draw them."""
        return finish(problem, starts, Meter(budget))


@dataclass(frozen=True)
class BestOfN:
    """For each start as many more plain seeds as the budget allows, and the best by the objective.

    Attributes:
        most: ends it where there is no budget: plain seeds for each start, the start included.
        batch: images drawn at once, as many as a card likes.
        pooled: the best of all that were drawn, whichever start they belong to, instead of each start's own best.
        name: as it stands in tables.
    """

    most: int = 256
    batch: int = 64
    pooled: bool = False
    name: str = "best_of_n"

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """All starts together, some seeds of each a round."""
        sampler = problem.sampler
        meter = Meter(budget, reserve=sampler.cost(len(starts)))
        # Infinite, so that a start is kept only where the budget pays for no drawing at all.
        found: list[list[tuple[float, Seed]]] = [[(inf, start)] for start in starts]
        trace: list[Spent] = []
        number, wide = 0, max(1, self.batch // len(starts))
        while number < self.most:
            # Whole rounds, so that every start gets the same number of seeds.
            count = min(wide, self.most - number, meter.remaining // sampler.cost(len(starts)))
            if not count or not meter.affords(sampler.cost(count * len(starts))):
                break
            # Round by round, [count x starts] in rows: row // starts is the round, row % starts the start.
            places = [place for _ in range(count) for place in range(len(starts))]
            drawn = [_numbered(starts[place], number + row // len(starts)) for row, place in enumerate(places)]
            scores = _score(problem, stacked(drawn))
            meter.spend(sampler.cost(len(drawn)))
            for place, seed, score in zip(places, drawn, scores, strict=True):
                found[place].append((score, seed))
            number += count
            trace.append(Spent(meter.spent, mean(score for score, _ in self._best(found))))
        return finish(problem, [seed for _, seed in self._best(found)], meter, trace)

    def _best(self, found: Sequence[Sequence[tuple[float, Seed]]]) -> list[tuple[float, Seed]]:
        """One for each start."""
        if self.pooled:
            return sorted((pair for pairs in found for pair in pairs), key=_score_of)[: len(found)]
        return [min(pairs, key=_score_of) for pairs in found]


MakeEngine = Callable[[Sequence[Seed], Sequence[float], str], Engine]
"""From elites, best first, their scores and a root."""


@dataclass(frozen=True)
class EngineMethod:
    """For each start a small pool of plain seeds, of whose best an engine makes more.

    Attributes:
        name: as it stands in tables.
        engine: what searches.
        pool: plain seeds of each start, the start included.
        elites: the best of them, which the engine is given.
        most: plain samples for each start where there is no budget.
    """

    name: str
    engine: MakeEngine
    pool: int = 16
    elites: int = 8
    most: int = 64

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """One start after the other, each with its share of the budget."""
        meter = Meter(budget, reserve=problem.sampler.cost(len(starts)))
        found: list[Seed] = []
        trace: list[Spent] = []
        lowest: list[float] = []
        for place, start in enumerate(starts):
            seed, score = self._best_from(problem, start, _Share(meter, place, len(starts)))
            found.append(seed)
            lowest.append(score)
            trace.append(Spent(meter.spent, sum(lowest) / len(lowest)))
        return finish(problem, found, meter, trace)

    def _best_from(self, problem: Problem, start: Seed, share: _Share) -> tuple[Seed, float]:
        """The best seed that one start's share of the budget leads to, and its objective; the start itself where it pays for nothing."""
        sampler = problem.sampler
        allowance = min(share.network_evaluations, sampler.cost(self.most))
        size = min(self.pool, allowance // sampler.cost(1))
        # A mix needs two elites.
        if size < 2 or not share.affords(sampler.cost(size)):
            return start, inf
        # 1. A small pool of plain seeds, whose best are the engine's elites.
        pool = [start, *(_another(start, number) for number in range(1, size))]
        scores = _score(problem, stacked(pool))
        share.meter.spend(sampler.cost(size))
        ranked = sorted(zip(scores, range(size), strict=True))[: self.elites]
        elites, known = [pool[index] for _, index in ranked], [score for score, _ in ranked]
        # 2. The engine, with what is left.
        before = share.meter.spent
        found = run_engine(
            self.engine(elites, known, start.digest),
            sampler,
            lambda latents: problem.objective.score(latents).objective,
            allowance - sampler.cost(size),
            # An engine's batches carry running totals, the meter takes differences.
            observe=lambda batches: share.meter.spend(before + batches[-1].network_evaluations - share.meter.spent),
            affords=share.affords,
        )
        # An engine need not have proposed the elites again, so the best of them stays in the running.
        if found.best and found.scores[0] < known[0]:
            return found.best[0], found.scores[0]
        return elites[0], known[0]


@dataclass(frozen=True)
class _Share:
    """What one of ``places`` starts, taken in turn, may spend of what the others left."""

    meter: Meter
    place: int
    places: int

    @property
    def network_evaluations(self) -> int:
        """At most."""
        return self.meter.remaining // (self.places - self.place)

    def affords(self, network_evaluations: int) -> bool:
        """Whether so many more leave the later starts their share of the time."""
        return self.meter.affords(network_evaluations, (self.place + 1) / self.places)


BAYES = EngineMethod("bo", lambda elites, known, root: BayesianMixes(elites, root, known=known))
CMA = EngineMethod("cma", lambda elites, _known, root: EvolvedMixes(elites, root))
ZERO_ORDER = EngineMethod(
    "zero_order",
    lambda elites, _known, root: RestartedNeighbours(elites, root, _shape(elites[0])),
    pool=4,
    elites=4,
)


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


class Tune(Protocol):
    """Makes a tuned copy of a pipeline."""

    def __call__(
        self, pipeline: object, prompt: str, references: Tensor, training: Training, *, affords: Callable[[int], bool]
    ) -> FineTuned:
        """See :mod:`seedbank.evaluation.finetuning`."""


@dataclass(frozen=True)
class FineTuning:
    """Train a copy on the references with what the budget leaves, then draw the starts with it."""

    name: str
    tune: Tune
    training: Training = field(default_factory=lambda: LORA)

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """Training is paid once for all starts."""
        meter = Meter(budget, reserve=problem.sampler.cost(len(starts)))

        def affords(cost: int) -> bool:
            if not meter.affords(cost):
                return False
            meter.spend(cost)
            return True

        # Training asks before each step and is charged in the same breath, so it ends when the budget does.
        made = self.tune(problem.pipeline, problem.prompt, problem.photos, self.training, affords=affords)
        # Judged by the problem as it was asked: the tuned model must not bring its own acceptance.
        return finish(problem.tuned(made.pipeline, made.prompt), starts, meter, asked=problem)


BY_NAME: dict[str, Method] = {
    method.name: method
    for method in (
        Plain(),
        BestOfN(),
        BestOfN(pooled=True, name="best_of_pool"),
        ZERO_ORDER,
        BAYES,
        CMA,
        RENO,
        DOODL,
        SEEDSELECT_STOP,
        FineTuning("textual_inversion", textual_inversion, SMALL_INVERSION),
        FineTuning("lora", lora, SMALL_LORA),
    )
}
"""All methods here, with the settings their papers give; the fine-tunings with what suits a model as small as the shipped one."""


def _score_of(pair: tuple[float, Seed]) -> float:
    return pair[0]


def _numbered(start: Seed, number: int) -> Seed:
    """The start itself, then its own plain seeds."""
    return _another(start, number) if number else start


def _another(start: Seed, number: int) -> Seed:
    """A further plain seed of a start's own, for ``number`` from 1."""
    return plain_seed(start.digest, number, _shape(start))


def _shape(seed: Seed) -> tuple[int, int, int]:
    channels, height, width = seed.latents.shape
    return channels, height, width


@torch.no_grad()
def _score(problem: Problem, noise: Tensor) -> list[float]:
    latents = problem.sampler.denoise(noise.to(problem.sampler.family.device))
    scores: list[float] = problem.objective.score(latents).objective.tolist()
    return scores
