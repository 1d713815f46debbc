"""The result: draw the images of what is kept, and judge exactly the bytes that are kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seedbank.selection.records import Cost, Scores
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.noise import stacked, to_numpy
from seedbank.selection.sampling.sampler import from_pixels, to_pixels
from seedbank.selection.search.explore import ExplorationResult
from seedbank.selection.search.optimise import OptimisedStarts
from seedbank.selection.search.results import Event, Find, Observer, ScoredImage, Selection
from seedbank.selection.search.rules import Trajectory, kept_step
from seedbank.selection.search.seed_search import SeedSearch
from seedbank.selection.seeds import Lineage, Seed


@dataclass(frozen=True, kw_only=True)
class Iterate:
    """The iterate that is kept of one start.

    Attributes:
        seed: the iterate, with its lineage; the start itself for iteration 0.
        start: where it started.
        iteration: which one it is.
        trajectory: of the start.
        stopped_by: why there are no more.
    """

    seed: Seed
    start: Seed
    iteration: int
    trajectory: Trajectory
    stopped_by: str


def kept_iterates(
    search: SeedSearch, exploration: ExplorationResult, optimised: OptimisedStarts
) -> tuple[Iterate, ...]:
    """What each start led to."""
    state, recipe, threshold = optimised.state, search.recipe, exploration.acceptance.needed
    found = []
    for row, number in enumerate(state.starts):
        # Iterate 0 stays the plain seed that it is: an optimised one of the same values would have another lineage.
        seed = start = search.seeds.seed(number)
        iteration = kept_step(state.trajectories[row], recipe, threshold).iteration
        if iteration:
            note = f"iterate {iteration}"
            lineage = Lineage(kind="optimised", parents=(start.digest,), recipe=recipe.digest, note=note)
            seed = Seed(to_numpy(state.best[row]), lineage)
        iterate = Iterate(
            seed=seed,
            start=start,
            iteration=iteration,
            trajectory=state.trajectories[row],
            stopped_by=state.stopped_by[row],
        )
        found.append(iterate)
    return tuple(found)


def draw(
    search: SeedSearch,
    exploration: ExplorationResult,
    optimised: OptimisedStarts | None,
    *,
    plain: int,
    observe: Observer = lambda _event: None,
) -> Selection:
    """Draw the first ``plain`` seeds of the pool and what the starts led to; ``optimised`` is None where the concept is out of reach."""
    seeds = [search.seeds.seed(number) for number in range(min(plain, search.recipe.explore.size))]
    iterates = kept_iterates(search, exploration, optimised) if optimised else ()
    wanted = [
        *(_Wanted(seed=seed, start=seed, start_guard=None, note="a plain seed") for seed in seeds),
        *map(_Wanted.of, iterates),
    ]
    images: list[ScoredImage] = []
    batch_size = search.sampler.config.batch_size
    for first in range(0, len(wanted), batch_size):
        images += _draw_batch(search, exploration, wanted[first : first + batch_size])
        observe(Event("draw", len(images), len(wanted)))
    finds = (
        Find(
            start=iterate.start,
            image=image,
            kept=iterate.iteration,
            trajectory=iterate.trajectory,
            stopped_by=iterate.stopped_by,
        )
        # The plain seeds were drawn first.
        for iterate, image in zip(iterates, images[len(seeds) :], strict=True)
    )
    spent = optimised.network_evaluations if optimised else exploration.network_evaluations
    return Selection(
        recipe=search.recipe,
        config=search.sampler.config,
        pool=exploration.pool,
        threshold=exploration.acceptance.needed,
        diagnosis=exploration.diagnosis,
        plain=tuple(images[: len(seeds)]),
        finds=tuple(finds),
        calibration=optimised.calibration if optimised else None,
        cost=Cost(
            network_evaluations=spent + search.sampler.cost(len(wanted)),
            iterations=optimised.state.evaluations - 1 if optimised else 0,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """A seed to draw, the start that its image must not be worse than, and how it was come by."""

    seed: Seed
    start: Seed
    start_guard: float | None
    note: str

    @classmethod
    def of(cls, iterate: Iterate) -> _Wanted:
        note = f"{iterate.stopped_by}; kept iterate {iterate.iteration}"
        return cls(seed=iterate.seed, start=iterate.start, start_guard=iterate.trajectory[0].guard, note=note)


def _draw_batch(search: SeedSearch, exploration: ExplorationResult, wanted: Sequence[_Wanted]) -> list[ScoredImage]:
    noise = stacked([each.seed for each in wanted])
    starts = stacked([each.start for each in wanted])
    # 1. Draw, as a replay does: in batches of one recorded size, so that an image's bytes do not depend on what else is drawn.
    latents = search.sampler.finish(noise)
    images = search.sampler.decode(latents).clamp(0, 1)
    pixels = to_pixels(images)
    # Of the images before rounding, decoded once.
    drawn = exploration.objective.score(latents, images)
    # 2. The judges see these 8 bits and nothing else.
    judged = exploration.acceptance.judge(
        from_pixels(pixels).to(search.photos), starts=[each.start_guard for each in wanted]
    )
    # 3. Write down what was seen.
    objective, terms = drawn.objective.tolist(), {name: values.tolist() for name, values in drawn.terms.items()}
    cosine, norm_z = sphere.cosine(noise, starts).tolist(), sphere.norm_score(noise).tolist()
    whiteness = sphere.whiteness(noise).tolist()
    return [
        ScoredImage(
            seed=each.seed,
            pixels=pixels[row],
            scores=Scores(
                objective=objective[row],
                semantic=terms["semantic"][row],
                appearance=terms["appearance"][row],
                guard=judged[row].guard,
                cosine_to_start=cosine[row],
                norm_z=norm_z[row],
                whiteness=whiteness[row],
            ),
            accepted=judged[row].accepted,
            explanation=f"{judged[row].explanation} ({each.note})",
        )
        for row, each in enumerate(wanted)
    ]
