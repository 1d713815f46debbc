"""Exploration: what is looked at, what is previewed, what is kept of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from seedbank.errors import VerificationError
from seedbank.selection.judging.guard import make_guard
from seedbank.selection.judging.targets import make_targets, stack_images
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.inversion import invert, inverted_seeds
from seedbank.selection.sampling.noise import NEGATED, PoolSeeds, plain_seed
from seedbank.selection.sampling.sampler import Sampler, make_sampler
from seedbank.selection.search.explore import choose_starts, draw_pool, pool_cost, survivors
from seedbank.selection.search.objective import LowFrequency, Objective, Semantic
from seedbank.selection.search.pool import Pool
from seedbank.selection.search.recipes import Explore
from support.tolerance import close

SHAPE = (4, 8, 8)
Parts = tuple[Sampler, Objective, Any]


@pytest.fixture(scope="module")
def parts(pipeline: Any, photos: Any, encoder: Any, guard: Any, sampler_config: SamplerConfig) -> Parts:
    sampler = make_sampler(pipeline, "ab", sampler_config)
    references = stack_images(photos, 16, 16)
    targets = make_targets(references, encoder, sampler.family)
    objective = Objective((Semantic(targets), LowFrequency(targets)), sampler.family.decode, encoder)
    return sampler, objective, make_guard(references, guard)


def test_pairs_are_opposite_and_say_so() -> None:
    seeds = PoolSeeds("0", SHAPE, 4, paired=True)
    first, second = seeds.seed(0), seeds.seed(1)
    assert np.array_equal(second.latents, -first.latents)
    assert (second.lineage.generator, second.lineage.integer) == (NEGATED, first.lineage.integer)
    assert seeds.seed(2).lineage.integer != first.lineage.integer
    assert seeds.seed(2) == plain_seed("0", 2, SHAPE)


def test_extra_seeds_follow_the_plain_ones() -> None:
    elsewhere = plain_seed("elsewhere", 7, SHAPE)
    seeds = PoolSeeds("0", SHAPE, 2, extra=(elsewhere,))
    assert (len(seeds), seeds.seed(2)) == (3, elsewhere)
    assert np.array_equal(seeds.noise([2, 0])[0].numpy(), elsewhere.latents)


def test_a_seed_from_elsewhere_competes_on_the_same_score(parts: Parts) -> None:
    sampler, objective, guard = parts
    pool = draw_pool(sampler, objective, guard, PoolSeeds("0", SHAPE, 6), plan=Explore(size=6, batch=4))
    best = plain_seed("0", int(pool.objective.argmin()), SHAPE)
    again = PoolSeeds("1", SHAPE, 3, extra=(best,))
    found = draw_pool(sampler, objective, guard, again, plan=Explore(size=3, batch=4))
    assert found.indices.tolist() == [0, 1, 2, 3]
    close(found.objective[3], pool.objective.min(), steps=len(sampler.steps) + 2)  # and a decoder and an encoder


def test_previews_choose_what_is_drawn_whole(parts: Parts) -> None:
    sampler, objective, guard = parts
    plan = Explore(size=8, batch=4, preview=0.5, keep=0.25)
    pool = draw_pool(sampler, objective, guard, PoolSeeds("0", SHAPE, 8), plan=plan)
    assert (len(pool.previews), len(pool)) == (8, 2)
    assert pool.indices.tolist() == survivors(pool.previews, plan)
    assert pool_cost(sampler, plan, pool) == sampler.with_steps(2).cost(8) + sampler.cost(2)
    assert pool.statistics().previewed == 8
    assert set(choose_starts(pool, 2, plan)) == set(pool.indices.tolist())


def test_an_interrupted_exploration_goes_on_to_the_same_pool(parts: Parts) -> None:
    sampler, objective, guard = parts
    plan = Explore(size=8, batch=3, preview=0.5, keep=0.5)
    seen: list[Pool] = []
    whole = draw_pool(
        sampler, objective, guard, PoolSeeds("0", SHAPE, 8), plan=plan, observe=lambda pool, _images: seen.append(pool)
    )
    for known in seen[:-1]:
        again = draw_pool(sampler, objective, guard, PoolSeeds("0", SHAPE, 8), plan=plan, known=known)
        assert torch.equal(again.objective, whole.objective)
        assert torch.equal(again.indices, whole.indices)


def test_previews_that_would_cost_as_much_are_left_out(parts: Parts) -> None:
    sampler, objective, guard = parts
    pool = draw_pool(
        sampler, objective, guard, PoolSeeds("0", SHAPE, 4), plan=Explore(size=4, preview=1.0), observe=lambda *_: None
    )
    assert (len(pool), len(pool.previews)) == (4, 0)


def test_the_unranked_take_what_comes_first() -> None:
    pool = Pool(
        torch.tensor([3, 5]), torch.tensor([2.0, 1.0]), torch.zeros(2), torch.eye(2), torch.eye(2), torch.zeros(0)
    )
    assert choose_starts(pool, 1, Explore(ranked=False)) == [3]
    assert choose_starts(pool, 1, Explore()) == [5]


def test_inverted_noise_leads_back_to_its_picture(build_pipeline: Any, sampler_config: SamplerConfig) -> None:
    many = make_sampler(
        build_pipeline("v_prediction"),
        "ab",
        sampler_config.model_copy(update={"guidance_scale": 1.0, "num_inference_steps": 50}),
    )
    noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(4))
    clean = many.denoise(noise)
    back = many.denoise(invert(many, clean))
    strange = many.denoise(torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5)))
    assert (back - clean).norm() < 0.2 * (strange - clean).norm()


def test_seeds_from_references_are_white_noise_with_a_lineage(parts: Parts) -> None:
    sampler, _, _ = parts
    latents = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(6))
    seeds = inverted_seeds(sampler, latents, "0", (0.1, 0.5))
    assert len(seeds) == 4
    assert seeds == inverted_seeds(sampler, latents, "0", (0.1, 0.5))
    assert {seed.lineage.kind for seed in seeds} == {"inverted"}
    assert seeds[1].lineage.note == "reference 0, share 0.5"
    noise = torch.stack([torch.from_numpy(seed.latents.copy()) for seed in seeds])
    assert sphere.whiteness(noise).max() < 5
    assert sphere.norm_score(noise).abs().max() < 4
    assert inverted_seeds(sampler, latents, "0", ()) == ()


def test_a_pool_is_read_back_as_it_was(parts: Parts) -> None:
    sampler, objective, guard = parts
    pool = draw_pool(sampler, objective, guard, PoolSeeds("0", SHAPE, 3), plan=Explore(size=3))
    back = Pool.from_safetensors(pool.to_safetensors())
    assert all(
        torch.equal(getattr(back, name), getattr(pool, name)) for name in ("indices", "guard_embeddings", "objective")
    )
    with pytest.raises(VerificationError, match="expected an explored pool in safetensors, got 4 other bytes"):
        Pool.from_safetensors(b"pool")
