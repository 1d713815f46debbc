"""The methods of the benchmark that are not recipes of :mod:`seedbank.selection`, all in :data:`BY_NAME`.

Plain seeds, engines and fine-tunings are here; those that follow a gradient are in :mod:`seedbank.evaluation.gradient_baselines`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import fmean as mean
from typing import Protocol

import torch
from torch import Tensor

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
from seedbank.evaluation.gradient_baselines import DOODL, RENO, SEEDSELECT_STOP
from seedbank.evaluation.harness import Budget, Meter, Method, Outcome, Problem, Spent, finish
from seedbank.evaluation.runners import run_engine
from seedbank.selection.sampling.noise import plain_seed, stacked
from seedbank.selection.seeds import Seed


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
