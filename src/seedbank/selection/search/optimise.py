"""The second stage: the most promising seeds of a pool, optimised."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seedbank.selection.records import Calibration
from seedbank.selection.sampling.calibrate import calibrate
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.sampler import to_pixels
from seedbank.selection.search.checkpoint import Checkpoint
from seedbank.selection.search.explore import ExplorationResult, choose_starts
from seedbank.selection.search.optimiser import Iteration, Optimiser
from seedbank.selection.search.recipes import CALIBRATED, Tangent
from seedbank.selection.search.results import Event, Observer
from seedbank.selection.search.rules import Limits, leaders
from seedbank.selection.search.seed_search import SeedSearch
from seedbank.selection.search.state import OptimisationState


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
    # A resumed search has gone through its exploration again from the stored pool, so this is complete up to here.
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
        # The checkpoint's count has the calibration and all iterations in it.
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
            semantic_goal=limits.semantic_goal,
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
    # Checkpoints are read on the CPU.
    begun = state.to(origin.device) if state else OptimisationState.initial(chosen, origin, recipe)
    state = optimiser.run(begun, on_iteration)

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
