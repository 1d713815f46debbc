"""Our recipes as methods of the benchmark: the search that :func:`seedbank.selection.select` runs, judged like all the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from seedbank.evaluation.harness import Budget, Meter, Outcome, Problem, finish
from seedbank.selection.sampling.sampler import to_pixels
from seedbank.selection.search.recipes import Recipe
from seedbank.selection.search.results import Event
from seedbank.selection.search.select import Search
from seedbank.selection.seeds import Seed


@dataclass(frozen=True)
class RecipeMethod:
    """A recipe with as many starts as it is given. It spends what it spends: the others are given as much.

    Its plain seeds are drawn from the first start's digest; the seeds it ends with are judged by the problem's guard.
    """

    recipe: Recipe

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.recipe.name

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """Explore, optimise, draw. Out of reach, the first plain seeds are what there is; a recipe that does not explore never asks."""
        meter = Meter(budget, reserve=problem.sampler.cost(len(starts)))
        trace: list[tuple[int, float]] = []
        search = Search(
            sampler=problem.sampler,
            references=[Image.fromarray(pixels) for pixels in to_pixels(problem.references)],
            encoder=problem.encoder,
            embed=problem.embed,
            recipe=self.recipe.sized(len(starts)),
            seed=starts[0].digest,
            observe=lambda event: _note(trace, event),
        )
        found = search.explore()
        if self.recipe.explore.ranked and found.diagnosis.recommendation == "unreachable":
            meter.spend(found.cost)
            return finish(problem, [search.candidates.seed(index) for index in range(len(starts))], meter, trace)
        walked = search.optimise(found, len(starts))
        meter.spend(walked.cost)
        return finish(problem, search.kept_seeds(found, walked), meter, trace)


def _note(trace: list[tuple[int, float]], event: Event) -> None:
    if event.stage == "optimise" and event.progress and event.progress.ways:
        traces = event.progress.ways.traces
        lowest = [min(reading.objective for reading in way) for way in traces if way]
        trace.append((event.progress.network_evaluations, sum(lowest) / len(lowest)))
