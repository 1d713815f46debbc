"""The methods of the benchmark that are not recipes of :mod:`seedbank.selection`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from seedbank.evaluation.finetuning import LORA, TEXTUAL_INVERSION, FineTuned, Training, lora, textual_inversion
from seedbank.evaluation.harness import Budget, Meter, Method, Outcome, Problem, finish
from seedbank.seeds import Lineage, Seed
from seedbank.selection.baselines import Baseline, Doodl, Nesterov, SphericalCentroid, first_memory, move
from seedbank.selection.draws import plain_seed, to_numpy
from seedbank.selection.engines import BayesianMixes, Engine, EvolvedMixes, RestartedNeighbours
from seedbank.selection.engines.base import stacked
from seedbank.selection.gradients import Mode, slope
from seedbank.selection.objective import Objective
from seedbank.selection.runners import climb_without_gradients

if TYPE_CHECKING:
    from collections.abc import Iterator


DEAREST = 4
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

    ``most`` ends it where there is no budget: plain seeds for each start, the start included.
    """

    most: int = 64
    name: str = "best_of_n"

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """All starts in one batch, round by round."""
        sampler = problem.sampler
        round_cost = sampler.cost(len(starts))
        meter = Meter(budget, reserve=round_cost)
        best, lowest = list(starts), [float("inf")] * len(starts)
        trace: list[tuple[int, float]] = []
        for number in range(self.most):
            if not meter.affords(round_cost):
                break
            drawn = list(starts) if number == 0 else [_another(start, number) for start in starts]
            scores = _score(problem, stacked(drawn))
            meter.spend(round_cost)
            for place, score in enumerate(scores):
                if score < lowest[place]:
                    best[place], lowest[place] = drawn[place], score
            trace.append((meter.spent, sum(lowest) / len(lowest)))
        return finish(problem, best, meter, trace)


MakeEngine = Callable[[Sequence[Seed], Sequence[float], str], Engine]
"""From elites, best first, their scores and a root."""


@dataclass(frozen=True)
class Search:
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
        trace: list[tuple[int, float]] = []
        lowest: list[float] = []
        for place, start in enumerate(starts):
            seed, score = self._climb(problem, start, meter, place, len(starts))
            found.append(seed)
            lowest.append(score)
            trace.append((meter.spent, sum(lowest) / len(lowest)))
        return finish(problem, found, meter, trace)

    def _climb(self, problem: Problem, start: Seed, meter: Meter, place: int, places: int) -> tuple[Seed, float]:
        sampler, share = problem.sampler, (place + 1) / places
        allowance = min(meter.left // (places - place), sampler.cost(self.most))
        size = min(self.pool, allowance // sampler.cost(1))
        if size < 2 or not meter.affords(sampler.cost(size), share):
            return start, float("inf")
        pool = [start, *(_another(start, number) for number in range(1, size))]
        scores = _score(problem, stacked(pool))
        meter.spend(sampler.cost(size))
        ranked = sorted(zip(scores, range(size), strict=True))[: self.elites]
        elites, known = [pool[index] for _, index in ranked], [score for score, _ in ranked]
        return self._search(problem, elites, known, start, allowance - sampler.cost(size), meter, share)

    def _search(
        self,
        problem: Problem,
        elites: Sequence[Seed],
        known: Sequence[float],
        start: Seed,
        allowance: int,
        meter: Meter,
        share: float,
    ) -> tuple[Seed, float]:
        before = meter.spent

        def affords(cost: int) -> bool:
            return meter.affords(cost, share)

        climbed = climb_without_gradients(
            self.engine(elites, known, start.digest),
            problem.sampler,
            lambda latents: problem.objective.score(latents).objective,
            allowance,
            observe=lambda trace: meter.spend(before + trace[-1].network_evaluations - meter.spent),
            affords=affords,
        )
        if climbed.best and climbed.scores[0] < known[0]:
            return climbed.best[0], climbed.scores[0]
        return elites[0], known[0]


BAYES = Search("bo", lambda elites, known, root: BayesianMixes(elites, root, known=known))
CMA = Search("cma", lambda elites, _known, root: EvolvedMixes(elites, root))
ZERO_ORDER = Search(
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
        gradient: a mode of :mod:`seedbank.selection.gradients`.
        keep_best: the iterate with the lowest objective instead of the last.
    """

    name: str
    update: Baseline
    objective: Callable[[Problem], Objective]
    iterations: int = 50
    gradient: str = "full"
    keep_best: bool = True

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """Step until the iterations or the budget are spent."""
        meter = Meter(budget, reserve=problem.sampler.cost(len(starts)))
        best, lowest = stacked(starts), torch.full((len(starts),), torch.inf)
        trace = []
        for noise, score in self._steps(problem, starts, meter):
            better = (score < lowest) if self.keep_best else torch.ones_like(lowest, dtype=torch.bool)
            best[better], lowest[better] = noise[better], score[better]
            trace.append((meter.spent, float(lowest.mean())))
        seeds = [self._seed(start, row) for start, row in zip(starts, best, strict=True)]
        return finish(problem, seeds, meter, trace)

    def _steps(self, problem: Problem, starts: Sequence[Seed], meter: Meter) -> Iterator[tuple[Tensor, Tensor]]:
        """Each iterate with its objective, on the CPU."""
        objective, mode = self.objective(problem), Mode.parse(self.gradient)
        start = stacked(starts).to(problem.sampler.family.device)
        noise, memory, cost = start, first_memory(start), DEAREST * problem.sampler.cost(len(starts))
        for iteration in range(self.iterations):
            if not meter.affords(cost):
                return
            found = slope(problem.sampler, noise, objective.evaluate, mode, trail=objective.trail)
            cost = found.network_evaluations
            meter.spend(cost)
            yield noise.cpu(), found.evaluation.objective.cpu()
            noise, memory = move(self.update, noise, start, found.gradient, memory, iteration, self.iterations)

    def _seed(self, start: Seed, noise: Tensor) -> Seed:
        lineage = Lineage(kind="optimised", parents=(start.digest,), note=self.name)
        return Seed(to_numpy(noise), lineage)


def _doodl_objective(problem: Problem) -> Objective:
    term = SphericalCentroid(problem.targets)
    return Objective((term,), problem.sampler.family.decode, problem.encoder, balanced=False)


RENO = GradientBaseline("reno", Nesterov(), lambda problem: problem.objective)
DOODL = GradientBaseline("doodl", Doodl(), _doodl_objective, keep_best=False)


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

        made = self.tune(problem.pipeline, problem.prompt, problem.photos, self.training, affords=affords)
        return finish(problem.tuned(made.pipeline, made.prompt), starts, meter, asked=problem)


BY_NAME: dict[str, Method] = {
    method.name: method
    for method in (
        Plain(),
        BestOfN(),
        ZERO_ORDER,
        BAYES,
        CMA,
        RENO,
        DOODL,
        FineTuning("textual_inversion", textual_inversion, TEXTUAL_INVERSION),
        FineTuning("lora", lora, LORA),
    )
}
"""All methods here, with the settings their papers give."""


def _another(start: Seed, number: int) -> Seed:
    """A further plain seed of a start's own, for ``number`` from 1."""
    return plain_seed(start.digest, number, _shape(start))


def _shape(seed: Seed) -> tuple[int, int, int]:
    channels, height, width = seed.latents.shape
    return channels, height, width


@torch.no_grad()
def _score(problem: Problem, noise: Tensor) -> list[float]:
    latents = problem.sampler.run(noise.to(problem.sampler.family.device))
    scores: list[float] = problem.objective.score(latents).objective.tolist()
    return scores
