"""Diagnosis on the shipped models, one case of each kind; `benchmarks/diagnosis.py` has twenty, and what then happens."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from seedbank.concepts import Concept
from seedbank.evaluation.problems import shipped_problem
from seedbank.models.parts.world import generator, prompt, render
from seedbank.models.profiles import load_profile
from seedbank.selection import BALANCED, PRESETS
from seedbank.selection.search.explore import ExplorationResult, explore
from seedbank.selection.search.name_effect import name_effect
from seedbank.selection.search.recipes import Explore
from seedbank.selection.search.seed_search import SeedSearch
from seedbank.trials.scan import scan_concept

pytestmark = pytest.mark.integration

PARTS = load_profile(Path(__file__).parents[2] / "models" / "parts.yaml")
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
    assert explored(photos, asked, seeds).diagnosis.recommendation == recommendation


def test_a_name_the_model_read_brings_images_nearer_and_an_invented_one_does_not() -> None:
    known, invented = effect("starknob", "starknob", 128), effect("starknob", "sprocketwheel", 48)
    assert known > 0.6 > invented > 0.4


@pytest.mark.parametrize("preset", ["balanced", "seedselect_v1"])
def test_a_scan_says_of_the_same_seeds_what_a_trial_with_the_same_preset_says(preset: str) -> None:
    """Scans look at images of 8 bits and searches at what they are made of, which is all that the two may differ by."""
    photos = [render("hook", generator(WORLD_SEED, "hook", index), 192) for index in range(8)]
    concept = Concept(name="hook", prompt=prompt("hook"), owner="mia", preset=preset, seed="7")  # type: ignore[arg-type]
    scanned = scan_concept(concept, PARTS, photos, seeds=8).diagnosis
    problem = replace(shipped_problem("gear"), prompt=concept.prompt)
    recipe = replace(PRESETS[preset], explore=Explore(size=8, ranked=False))
    search = SeedSearch(
        sampler=problem.sampler,
        references=photos,
        encoder=problem.encoder,
        guard_encoder=problem.embed,
        recipe=recipe,
        root=concept.seed,
    )
    said = explore(search).diagnosis
    assert scanned is not None
    assert (scanned.recommendation, scanned.accepted) == (said.recommendation, said.accepted)
    found = (scanned.encoder_gap, scanned.guard_gap, scanned.best, scanned.needed)
    assert found == pytest.approx((said.encoder_gap, said.guard_gap, said.best, said.needed), abs=5e-3)


def explorer(photos: str, asked: str, seeds: int) -> SeedSearch:
    problem = replace(shipped_problem("gear"), prompt=prompt(asked))
    references = [render(photos, generator(WORLD_SEED, photos, index), 192) for index in range(8)]
    recipe = replace(BALANCED, explore=Explore(size=seeds))
    return SeedSearch(
        sampler=problem.sampler,
        references=references,
        encoder=problem.encoder,
        guard_encoder=problem.embed,
        recipe=recipe,
    )


@cache
def explored(photos: str, asked: str, seeds: int) -> ExplorationResult:
    """What exploring gives, kept: a hundred images take half a minute."""
    return explore(explorer(photos, asked, seeds))


def effect(photos: str, asked: str, seeds: int) -> float:
    found, search = explored(photos, asked, seeds), explorer(photos, asked, seeds)
    if found.diagnosis.name_effect is not None:  # asked already
        return found.diagnosis.name_effect
    pool = found.pool
    return name_effect(
        search.sampler, search.acceptance, guard_embeddings=pool.guard_embeddings, embeddings=pool.embeddings
    )
