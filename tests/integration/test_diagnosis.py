"""Diagnosis on the shipped models, one case of each kind; `benchmarks/diagnosis.py` has twenty, and what then happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seedbank.evaluation.problems import shipped_problem
from seedbank.models.parts.world import generator, prompt, render
from seedbank.selection import BALANCED
from seedbank.selection.search.nameless import name_brings
from seedbank.selection.search.recipes import Explore
from seedbank.selection.search.select import Search

pytestmark = pytest.mark.integration

WORLD_SEED = 16_180
"""Renders of no training, test, example or benchmark set."""


@pytest.mark.parametrize(
    ("photos", "asked", "seeds", "recommendation"),
    [
        ("gear", "gear", 32, "sample"),
        ("starknob", "starknob", 128, "optimise"),
        ("impeller", "washer", 128, "unreachable"),
    ],
    ids=["often drawn", "hardly drawn", "never drawn for this name"],
)
def test_exploration_tells_what_seeds_can_do(photos: str, asked: str, seeds: int, recommendation: str) -> None:
    assert explorer(photos, asked, seeds).explore().diagnosis.recommendation == recommendation


def test_a_name_the_model_read_brings_pictures_nearer_and_an_invented_one_does_not() -> None:
    known, invented = (brought("starknob", name) for name in ("starknob", "sprocketwheel"))
    assert known > 0.6 > invented > 0.4


def explorer(photos: str, asked: str, seeds: int) -> Search:
    problem = replace(shipped_problem("gear"), prompt=prompt(asked))
    references = [render(photos, generator(WORLD_SEED, photos, index), 192) for index in range(8)]
    recipe = replace(BALANCED, explore=Explore(size=seeds))
    return Search(problem.sampler, references, problem.encoder, problem.embed, recipe)


def brought(photos: str, asked: str) -> float:
    search = explorer(photos, asked, 48)
    pool = search.explore().pool
    return name_brings(search.sampler, pool.embeddings, pool.looks, search.targets, search.guard, search.encoder)
