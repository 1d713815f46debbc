"""The runner: what it costs, what it keeps, and that a resumed search ends as an uninterrupted one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seedbank.evaluation.engines import BayesianMixes, Engine, EvolvedMixes, RestartedNeighbours
from seedbank.evaluation.runners import EngineRun, ScoredBatch, of_images, run_engine
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.noise import plain_seed, stacked
from seedbank.selection.sampling.sampler import Sampler, from_pixels, make_sampler

ENGINES = ("bayes", "cma", "zero_order")


@pytest.fixture(scope="module")
def sampler(pipeline: Any, sampler_config: SamplerConfig) -> Sampler:
    return make_sampler(pipeline, "ab", sampler_config)


def build(name: str, sampler: Sampler) -> Engine:
    shape = sampler.noise_shape
    elites = [plain_seed("elites", index, shape) for index in range(4)]
    if name == "zero_order":
        return RestartedNeighbours(elites, "a", shape)
    return BayesianMixes(elites, "a") if name == "bayes" else EvolvedMixes(elites, "a")


def red(images: Tensor) -> Tensor:
    """How far from red, rounded: a score without a gradient, in double precision as scores may be."""
    images = images.double()
    return (20 * (1 - images[:, 0].mean((1, 2)))).round() / 20 + images[:, 1:].mean((1, 2, 3))


def run(name: str, sampler: Sampler, budget: int = 30 * 8, **options: Any) -> EngineRun:
    return run_engine(build(name, sampler), sampler, of_images(sampler, red), budget, keep=3, **options)


@pytest.mark.parametrize("name", ENGINES)
def test_it_stays_within_its_budget_and_counts_it(name: str, sampler: Sampler) -> None:
    found = run(name, sampler)
    drawn = sum(len(batch.scores) for batch in found.batches)
    assert found.network_evaluations == sampler.cost(drawn) <= 30 * 8
    assert found.seconds > 0
    assert sampler.cost(1) == 8


@pytest.mark.parametrize("name", ENGINES)
def test_the_best_seeds_are_the_lowest_scores_seen_and_draw_what_was_scored(name: str, sampler: Sampler) -> None:
    found = run(name, sampler)
    assert list(found.scores) == sorted(score for batch in found.batches for score in batch.scores)[:3]
    pixels = sampler.draw(stacked([found.best[0]]))[0]
    assert float(red(from_pixels(pixels[None]))) == pytest.approx(found.scores[0], abs=0.06)


@pytest.mark.parametrize("name", ENGINES)
def test_interrupted_anywhere_it_ends_the_same(name: str, sampler: Sampler) -> None:
    class KilledError(Exception):
        pass

    seen: list[tuple[ScoredBatch, ...]] = []

    def observe(batches: tuple[ScoredBatch, ...]) -> None:
        seen.append(batches)
        if len(batches) == 3:
            raise KilledError

    with pytest.raises(KilledError):
        run(name, sampler, observe=observe)
    resumed = run(name, sampler, resume=[batch.scores for batch in seen[-1]])
    assert resumed == run(name, sampler)


def test_a_clock_can_end_it(sampler: Sampler) -> None:
    costs: list[int] = []

    def affords(cost: int) -> bool:
        costs.append(cost)
        return len(costs) <= 2

    assert len(run("cma", sampler, affords=affords).batches) == 2


def test_without_a_budget_there_is_nothing(sampler: Sampler) -> None:
    found = run("cma", sampler, budget=0)
    assert (found.best, found.batches, found.network_evaluations) == ((), (), 0)


def test_a_score_that_is_no_number_is_never_best(sampler: Sampler) -> None:
    def broken(images: Tensor) -> Tensor:
        scores = red(images)
        scores[0] = torch.nan
        return scores

    found = run_engine(build("cma", sampler), sampler, of_images(sampler, broken), 20 * 8)
    assert np.isfinite(found.scores[0])
