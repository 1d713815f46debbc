"""The whole method on tiny random models: what it promises whatever the model draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from seedbank.errors import VerificationError
from seedbank.selection import BALANCED, SEEDSELECT_V1, THOROUGH, Checkpoint, Event, Recipe, Selection, select
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.noise import draw, integer, stacked
from seedbank.selection.sampling.sampler import make_sampler
from seedbank.selection.search.explore import choose_starts
from seedbank.selection.search.name_effect import UNNAMED
from seedbank.selection.search.pool import Pool
from seedbank.selection.search.recipes import CALIBRATED, Explore
from support.blind import Blind

SMALL = replace(
    BALANCED, explore=Explore(size=6, batch=4), iterations=4, spare=1.0, stop=replace(BALANCED.stop, near_enough=False)
)
RACE = replace(SMALL, spare=2.0, iterations=5)
FULL = replace(
    THOROUGH,
    explore=replace(THOROUGH.explore, size=6, batch=4),
    iterations=3,
    stop=replace(THOROUGH.stop, stale=0, hacked=0, cornered=0),
)
PAPER = replace(SEEDSELECT_V1, explore=Explore(size=3, ranked=False), iterations=3, guard_every=3)

Run = Callable[..., Selection]


@pytest.fixture(scope="module")
def run(pipeline: Any, photos: Any, encoder: Any, guard: Any, sampler_config: SamplerConfig) -> Run:
    def _run(recipe: Recipe = SMALL, **options: Any) -> Selection:
        arguments = {"starts": 3, "plain": 2, "config": sampler_config, **options}
        return select(pipeline, "ab", photos, encoder=encoder, guard_encoder=guard, recipe=recipe, **arguments)

    return _run


@pytest.fixture(scope="module")
def found(run: Run) -> Selection:
    return run()


def test_no_find_is_worse_than_its_start_under_the_guard(found: Selection) -> None:
    assert len(found.finds) == 3
    for find in found.finds:
        assert find.image.scores.guard >= (find.trajectory[0].guard or 0) - 1e-4
        assert find.trajectory[find.kept].guard is not None


def test_seeds_stay_on_the_shell_and_in_the_trust_region(found: Selection) -> None:
    for find in found.finds:
        assert np.linalg.norm(find.image.seed.latents) == pytest.approx(np.linalg.norm(find.start.latents), rel=1e-5)
        assert find.image.scores.cosine_to_start >= 0.8 - 1e-4


def test_a_kept_picture_is_what_its_seed_draws_alone(found: Selection, pipeline: Any) -> None:
    sampler = make_sampler(pipeline, "ab", found.config)
    for image in (*found.plain, *(find.image for find in found.finds)):
        assert np.array_equal(sampler.draw(stacked([image.seed]))[0], image.pixels)


def test_lineage_leads_from_a_find_to_an_integer(found: Selection) -> None:
    for find in found.finds:
        lineage = find.image.seed.lineage
        if find.kept:
            assert (lineage.kind, lineage.parents, lineage.recipe) == ("optimised", (find.start.digest,), SMALL.digest)
        assert np.array_equal(draw(find.start.lineage.integer, (4, 8, 8)).numpy(), find.start.latents)


def test_the_objective_falls_on_average(found: Selection) -> None:
    assert np.mean([find.trajectory[-1].objective - find.trajectory[0].objective for find in found.finds]) < 0


def test_the_same_call_gives_the_same_result(found: Selection, run: Run) -> None:
    again = run()
    assert _outcome(again) == _outcome(found)
    assert _outcome(run(root="1")) != _outcome(found)


@pytest.mark.parametrize("recipe", [SMALL, RACE, FULL, PAPER], ids=["balanced", "race", "thorough", "seedselect_v1"])
def test_resumed_from_any_point_it_ends_the_same(run: Run, recipe: Recipe) -> None:
    kept: list[tuple[str, bytes]] = []

    def observe(event: Event) -> None:
        if event.checkpoint:
            kept.append((event.stage, event.checkpoint.to_bytes()))

    whole = _outcome(run(recipe, observe=observe))
    assert {stage for stage, _ in kept} == {"explore", "optimise"} | ({"calibrate"} if recipe is FULL else set())
    for _, data in kept:
        assert _outcome(run(recipe, resume=Checkpoint.from_bytes(data))) == whole


def test_a_search_that_measures_its_gradient_mode_says_what_it_chose_and_pays_for_it(run: Run) -> None:
    measured = run(replace(SMALL, gradient=CALIBRATED))
    assert measured.calibration
    named = run(replace(SMALL, gradient=measured.calibration.chosen))
    assert named.calibration is None
    extra = measured.cost.network_evaluations - named.cost.network_evaluations
    assert extra == measured.calibration.network_evaluations > 0
    assert [find.image.scores for find in measured.finds] == [find.image.scores for find in named.finds]


def test_progress_reports_every_stage_and_shows_the_starts_on_their_way(
    run: Run, sampler_config: SamplerConfig
) -> None:
    events: list[Event] = []
    run(observe=events.append, config=sampler_config.model_copy(update={"batch_size": 2}))
    assert [event.done for event in events if event.stage == "explore"] == [4, 6]
    assert [event.done for event in events if event.stage == "draw"] == [2, 4, 5]
    iterations = [event for event in events if event.stage == "optimise"]
    assert iterations[0].iteration == 0
    assert iterations[0].images
    assert {pixels.shape for pixels in iterations[0].images.values()} == {(16, 16, 3)}


def test_the_cost_counts_every_evaluation(found: Selection) -> None:
    steps, branches = 4, 2
    explored, drawn = 6 * steps * branches, 5 * steps * branches
    each = sum((len(find.trajectory) - 1) * (steps + 2) + steps for find in found.finds) * branches
    assert found.cost.network_evaluations == explored + each + drawn


def test_the_seconds_of_each_stage_are_told(run: Run) -> None:
    began = time.perf_counter()
    seconds = run().seconds
    elapsed = time.perf_counter() - began
    assert set(seconds) == {"explore", "optimise", "draw"}
    assert min(seconds.values()) > 0
    assert sum(seconds.values()) <= elapsed


class Content:
    """An encoder for which whatever is drawn is nearer to the five references than they are to each other."""

    size = 32

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        angles = torch.linspace(-1, 1, len(images)) if len(images) == 5 else 0 * images.mean((1, 2, 3))
        return torch.stack([angles.cos(), angles.sin()], 1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self(images)


@pytest.mark.parametrize("near_enough", [True, False])
def test_the_guard_is_asked_in_between_where_a_start_may_be_finished(
    near_enough: bool, pipeline: Any, photos: Any, guard: Any, sampler_config: SamplerConfig
) -> None:
    stop = replace(SMALL.stop, near_enough=near_enough, stale=0, hacked=0)
    never = replace(SMALL, stop=stop, guard_slack=-1e3)
    found = select(
        pipeline,
        "ab",
        photos,
        encoder=Content(),
        guard_encoder=guard,
        recipe=never,
        starts=3,
        plain=0,
        config=sampler_config,
    )
    assert [[metrics.guard is not None for metrics in find.trajectory] for find in found.finds] == [
        [True, near_enough, True, near_enough, True]
    ] * 3


def test_spare_starts_fall_out_on_the_way_and_are_paid(run: Run) -> None:
    events: list[Event] = []
    found = run(RACE, observe=events.append)
    iterations = [event for event in events if event.stage == "optimise"]
    assert [len(event.images) for event in iterations] == [6, 6, 5, 3, 3, 3]
    assert {find.start for find in found.finds} == set(iterations[-1].images)
    steps, branches, drawn = 4, 2, 5
    gradients, last = 6 + 6 + 5 + 3 + 3, 3
    spent = (6 + gradients + last + drawn) * steps + gradients * 2
    assert found.cost.network_evaluations == spent * branches


def test_the_papers_recipe_keeps_the_last_iterate_of_the_first_seeds(run: Run) -> None:
    found = run(PAPER)
    assert [find.kept for find in found.finds] == [3, 3, 3]
    assert [find.start.lineage.integer for find in found.finds] == [integer("0", index) for index in range(3)]


def test_out_of_reach_nothing_is_optimised(pipeline: Any, photos: Any, sampler_config: SamplerConfig) -> None:
    """Not before it was asked what the effect of the name is: nothing, where all images are equally far."""
    recipe, blind = replace(SMALL, explore=Explore(size=128, batch=32)), Blind(references=5)
    found = select(
        pipeline,
        "ab",
        photos,
        encoder=blind,
        guard_encoder=blind,
        recipe=recipe,
        starts=2,
        plain=2,
        config=sampler_config,
    )
    assert (found.reachability, found.finds, len(found.plain)) == ("unreachable", (), 2)
    assert found.diagnosis.name_effect == 0.5
    steps, branches = 4, 2
    assert found.cost.network_evaluations == (128 + UNNAMED + 2) * steps * branches


def test_damaged_progress_is_refused() -> None:
    with pytest.raises(VerificationError, match="expected a checkpoint of a selection, got 5 other bytes"):
        Checkpoint.from_bytes(b"hello")


def test_starts_are_good_and_unlike_each_other() -> None:
    embeddings = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0.01], [0, 1], [-1, 0], [0, -1]]), dim=1)
    objective, nothing = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0]), torch.zeros(0)
    pool = Pool(torch.arange(5), objective, torch.zeros(5), embeddings, embeddings, nothing)
    assert choose_starts(pool, 2, Explore(shortlist=1)) == [4, 0]
    assert choose_starts(pool, 2, Explore(shortlist=2)) == [4, 2]
    assert choose_starts(pool, 2, Explore(ranked=False)) == [0, 1]
    assert len(choose_starts(pool, 9, Explore())) == 5


def _outcome(found: Selection) -> list[object]:
    images = [*found.plain, *(find.image for find in found.finds)]
    kept = [(image.seed.digest, image.pixels.tobytes(), image.scores, image.explanation) for image in images]
    return [
        kept,
        found.pool.statistics(),
        found.calibration,
        found.cost,
        [(find.trajectory, find.stopped_by) for find in found.finds],
    ]
