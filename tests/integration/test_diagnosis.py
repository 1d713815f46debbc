"""Diagnosis on the shipped models, one case of each kind; `benchmarks/diagnosis.py` has twenty, and what then happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seedbank.evaluation.problems import shipped_problem
from seedbank.models.parts.world import generator, prompt, render
from seedbank.selection import BALANCED
from seedbank.selection.recipes import Explore
from seedbank.selection.select import Search

pytestmark = pytest.mark.integration

WORLD_SEED = 16_180
"""Renders of no training, test, example or benchmark set."""


@pytest.mark.parametrize(
    ("photos", "asked", "seeds", "verdict"),
    [("gear", "gear", 32, "more search"), ("starknob", "starknob", 128, "optimise"), ("impeller", "washer", 128, "no")],
    ids=["often drawn", "hardly drawn", "never drawn for this name"],
)
def test_exploration_tells_what_seeds_can_do(photos: str, asked: str, seeds: int, verdict: str) -> None:
    problem = replace(shipped_problem("gear"), prompt=prompt(asked))
    references = [render(photos, generator(WORLD_SEED, photos, index), 192) for index in range(8)]
    recipe = replace(BALANCED, explore=Explore(size=seeds))
    search = Search(problem.sampler, references, problem.encoder, problem.embed, recipe)
    assert search.explore().diagnosis.verdict == verdict
