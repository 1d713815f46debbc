"""Many images from one find, on a tiny random model whose guard knows what one seed draws."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest
import torch

from seedbank.errors import UsageError
from seedbank.selection.expansion.expand import Plan, expand, natural_distance
from seedbank.selection.expansion.results import ExpansionResult
from seedbank.selection.judging.acceptance import Acceptance, make_acceptance
from seedbank.selection.judging.guard import make_guard
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.mixes import neighbours, repelled
from seedbank.selection.sampling.noise import plain_seed, stacked
from seedbank.selection.sampling.sampler import Sampler, from_pixels, make_sampler
from seedbank.selection.search.recipes import BALANCED
from seedbank.selection.seeds import Lineage, Seed
from support.tolerance import tolerance

COUNT = 10
PLAN = Plan(min_distance=1e-5, strict=0.0, budget=6, patience=99)


@pytest.fixture(scope="module")
def sampler(pipeline: Any, sampler_config: SamplerConfig) -> Sampler:
    return make_sampler(pipeline, "ab", sampler_config)


@pytest.fixture(scope="module")
def find(sampler: Sampler) -> Seed:
    return plain_seed("find", 0, sampler.noise_shape)


@pytest.fixture(scope="module")
def wanted(sampler: Sampler, find: Seed) -> torch.Tensor:
    """What five near neighbours of the find draw: the references."""
    centre = torch.from_numpy(find.latents.copy())[None]
    near = neighbours(centre, repelled("references", range(5), sampler.noise_shape), 0.8)
    return from_pixels(sampler.draw(near))


@pytest.fixture(scope="module")
def acceptance(wanted: torch.Tensor, sampler: Sampler, encoder: Any, guard: Any) -> Acceptance:
    """By the guard alone, as near as the furthest reference; copies are welcome, for the references are of the find's own kind."""
    criteria = replace(BALANCED, match_codec=False)
    made = make_acceptance(wanted, sampler.family, encoder=encoder, guard_encoder=guard, criteria=criteria)
    judge = replace(make_guard(wanted, guard), copy_limit=1.1)
    return replace(made, guard=replace(judge, threshold=float(judge.near.min())), semantic_limit=inf)


@pytest.fixture(scope="module")
def lax(acceptance: Acceptance) -> Acceptance:
    """Takes everything."""
    return asking(acceptance, -1.0)


def asking(acceptance: Acceptance, threshold: float) -> Acceptance:
    return replace(acceptance, guard=replace(acceptance.guard, threshold=threshold))


@pytest.fixture(scope="module")
def expansion(sampler: Sampler, acceptance: Acceptance, find: Seed) -> ExpansionResult:
    return expand(sampler, acceptance, [find], COUNT, root="r", plan=PLAN)


def test_what_is_kept_is_accepted_distinct_and_drawn_alone(
    expansion: ExpansionResult, sampler: Sampler, acceptance: Acceptance
) -> None:
    assert len(expansion.images) == COUNT
    images = from_pixels(np.stack([child.pixels for child in expansion.images]))
    assert float(acceptance.guard.similarity(images).min()) >= acceptance.needed - 1e-5
    distances = 1 - acceptance.guard.embed(images).double() @ acceptance.guard.embed(images).double().T
    assert float(distances[~torch.eye(COUNT, dtype=torch.bool)].min()) >= PLAN.min_distance - 1e-6  # type: ignore[operator]
    for child in expansion.images:
        assert np.array_equal(sampler.draw(stacked([child.seed]))[0], child.pixels)


def test_lineage_leads_back_to_the_find(expansion: ExpansionResult, find: Seed) -> None:
    known = {find.digest}
    for child in expansion.images:
        lineage = child.seed.lineage
        assert lineage.kind in ("neighbour", "mix")
        assert set(lineage.parents) <= known
        assert lineage.recipe == PLAN.digest
        known.add(child.seed.digest)


def test_seeds_stay_on_the_finds_shell(expansion: ExpansionResult, find: Seed) -> None:
    for child in expansion.images:
        assert np.linalg.norm(child.seed.latents) == pytest.approx(np.linalg.norm(find.latents), rel=1e-5)


def test_the_cosine_is_the_smallest_that_was_accepted_often_enough(expansion: ExpansionResult) -> None:
    enough = [cosine for cosine, share in expansion.probed.items() if share >= PLAN.wanted]
    assert expansion.cosine == min(enough, default=PLAN.cosines[0])
    assert all(share < PLAN.wanted for cosine, share in expansion.probed.items() if cosine < expansion.cosine)


def test_every_drawing_is_counted(expansion: ExpansionResult, sampler: Sampler) -> None:
    drawn = sum(ended.drawn for ended in expansion.attempts.values())
    alone = expansion.network_evaluations // sampler.cost(1) - drawn
    alike = sum(ended.too_alike for ended in expansion.attempts.values())
    assert expansion.network_evaluations % sampler.cost(1) == 0
    assert COUNT <= alone <= COUNT + alike
    assert expansion.plain_samples_each == pytest.approx((drawn + alone) / COUNT)
    assert expansion.seconds > 0


def test_the_report_is_about_what_was_kept(expansion: ExpansionResult, acceptance: Acceptance) -> None:
    distances = expansion.distances
    least, mean, most = distances.least, distances.mean, distances.most
    assert PLAN.min_distance <= least <= mean <= most  # type: ignore[operator]
    assert least == pytest.approx(min(child.scores.distance for child in expansion.images[1:]), abs=tolerance(1.0))
    assert 1 <= expansion.vendi <= COUNT
    assert 0 < expansion.acceptance_rate <= 1


def test_the_same_call_gives_the_same_seeds(
    expansion: ExpansionResult, sampler: Sampler, acceptance: Acceptance, find: Seed
) -> None:
    again = expand(sampler, acceptance, [find], COUNT, root="r", plan=PLAN)
    assert [child.seed for child in again.images] == [child.seed for child in expansion.images]
    other = expand(sampler, acceptance, [find], COUNT, root="s", plan=PLAN)
    assert other.images[0].seed != expansion.images[0].seed


def test_where_the_guard_takes_everything_it_goes_as_far_as_it_may(
    sampler: Sampler, lax: Acceptance, find: Seed
) -> None:
    found = expand(sampler, lax, [find], 30, plan=PLAN)
    assert found.cosine == 0.5
    assert found.attempts["mix"].drawn > 0
    assert found.images[0].scores.cosine < 0.85


def test_where_the_guard_takes_nothing_it_stays_near_and_ends_with_its_budget(
    sampler: Sampler, acceptance: Acceptance, find: Seed
) -> None:
    found = expand(sampler, asking(acceptance, 2.0), [find], 4, plan=PLAN)
    assert (found.images, found.cosine, found.acceptance_rate, found.vendi) == ((), 0.98, 0.0, 0.0)
    assert found.plain_samples_each == float("inf")
    assert 8 * 6 - 8 < found.network_evaluations / sampler.cost(1) <= 8 * 6


def test_what_the_objective_does_not_agree_to_is_not_kept(sampler: Sampler, lax: Acceptance, find: Seed) -> None:
    """The guard would take anything; the limit is that of the references, which near neighbours keep to and far ones do not."""
    strict = replace(lax, semantic_limit=lax.targets.semantic_limit)
    alone = expand(sampler, lax, [find], COUNT, root="r", plan=PLAN)
    both = expand(sampler, strict, [find], COUNT, root="r", plan=PLAN)
    assert (alone.semantic_limit, both.semantic_limit) == (None, strict.semantic_limit)
    assert max(child.scores.semantic for child in alone.images) > strict.semantic_limit
    seen = [found.semantic for found in strict.judge(from_pixels(np.stack([each.pixels for each in both.images])))]
    assert [child.scores.semantic for child in both.images] == pytest.approx(seen, abs=tolerance(1.0))
    assert max(seen) <= strict.semantic_limit + 1e-5
    assert both.acceptance_rate < alone.acceptance_rate == 1.0
    assert both.cosine > alone.cosine


def test_it_goes_further_where_neighbours_are_too_alike(sampler: Sampler, lax: Acceptance, find: Seed) -> None:
    """At the only cosine that the probes allow, hardly two differ enough; further out they do."""
    plan = replace(PLAN, cosines=(0.9999, 0.5), wanted=1.1, min_distance=1e-3, patience=4, mixed=0)
    found = expand(sampler, lax, [find], 8, plan=plan)
    assert found.cosine == 0.9999
    assert min(child.scores.cosine for child in found.images) == pytest.approx(0.5, abs=1e-3)
    near = expand(sampler, lax, [find], 8, plan=replace(plan, cosines=(0.9999,)))
    assert len(near.images) < len(found.images)


def test_it_gives_up_when_nothing_more_comes(sampler: Sampler, acceptance: Acceptance, find: Seed) -> None:
    hopeless = asking(acceptance, 2.0)
    found = expand(sampler, hopeless, [find], 50, plan=replace(PLAN, patience=2))
    probes = len(found.probed) * PLAN.probe
    assert found.network_evaluations == sampler.cost(probes + 2 * PLAN.batch)


def test_copies_are_not_kept(sampler: Sampler, lax: Acceptance, find: Seed) -> None:
    found = expand(sampler, replace(lax, guard=replace(lax.guard, copy_limit=-1.0)), [find], 2, plan=PLAN)
    assert found.images == ()


def test_pictures_that_are_too_alike_are_not_kept(sampler: Sampler, lax: Acceptance, find: Seed) -> None:
    found = expand(sampler, lax, [find], 4, plan=replace(PLAN, min_distance=1.9))
    assert len(found.images) == 1
    assert sum(ended.too_alike for ended in found.attempts.values()) > 0


def test_a_strict_plan_asks_for_more_than_the_threshold(sampler: Sampler, acceptance: Acceptance, find: Seed) -> None:
    low = asking(acceptance, 0.0)
    picture = _picture(sampler, find)
    half = expand(sampler, low, [find], 1, plan=replace(PLAN, strict=0.5))
    assert half.needed == pytest.approx(float(acceptance.guard.similarity(picture)) / 2, abs=tolerance(1.0))
    assert expand(sampler, low, [find], 1, plan=PLAN).needed == 0.0


def test_natural_distance_is_half_that_of_the_two_most_alike_references(acceptance: Acceptance) -> None:
    prototypes = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [1, 0.5, 0], [0, 0, 1]]), dim=1)
    assert natural_distance(replace(acceptance.guard, prototypes=prototypes)) == pytest.approx((1 - 2 / 5**0.5) / 2)
    assert natural_distance(replace(acceptance.guard, prototypes=prototypes[:1])) == 0.01
    assert natural_distance(replace(acceptance.guard, prototypes=prototypes[[0, 0]])) == 0.01


def test_what_cannot_be_expanded_is_refused(sampler: Sampler, acceptance: Acceptance) -> None:
    with pytest.raises(UsageError, match="at least one seed to expand, got none"):
        expand(sampler, acceptance, [], 1)
    small = Seed(np.zeros((4, 2, 2), np.float32), Lineage(kind="drawn"))
    with pytest.raises(UsageError, match=r"seeds of shape \(4, 8, 8\), got \(4, 2, 2\)"):
        expand(sampler, acceptance, [small], 1)


def _picture(sampler: Sampler, seed: Seed) -> torch.Tensor:
    return from_pixels(sampler.draw(stacked([seed])))
