"""Our recipes as methods of the benchmark: the search that :func:`seedbank.selection.select` runs, judged like all the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from seedbank.evaluation.harness import Budget, Meter, Outcome, Problem, Spent, finish
from seedbank.selection.sampling.sampler import to_pixels
from seedbank.selection.search.draw import kept_iterates
from seedbank.selection.search.explore import explore
from seedbank.selection.search.optimise import optimise
from seedbank.selection.search.recipes import Recipe
from seedbank.selection.search.results import Event
from seedbank.selection.search.seed_search import SeedSearch
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
        trace: list[Spent] = []

        def observe(event: Event) -> None:
            if event.checkpoint and event.checkpoint.state:
                lowest = [
                    min(metrics.objective for metrics in trajectory)
                    for trajectory in event.checkpoint.state.trajectories
                    if trajectory
                ]
                trace.append(Spent(event.checkpoint.network_evaluations, sum(lowest) / len(lowest)))

        search = SeedSearch(
            sampler=problem.sampler,
            references=[Image.fromarray(pixels) for pixels in to_pixels(problem.references)],
            encoder=problem.encoder,
            guard_encoder=problem.embed,
            recipe=self.recipe.sized(len(starts)),
            root=starts[0].digest,
        )
        exploration = explore(search, observe=observe)
        if self.recipe.explore.ranked and exploration.diagnosis.recommendation == "unreachable":
            meter.spend(exploration.network_evaluations)
            return finish(problem, [search.seeds.seed(number) for number in range(len(starts))], meter, trace)
        optimised = optimise(search, exploration, starts=len(starts), observe=observe)
        meter.spend(optimised.network_evaluations)
        iterates = kept_iterates(search, exploration, optimised)
        return finish(problem, [iterate.seed for iterate in iterates], meter, trace)
