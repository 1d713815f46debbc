"""The harness on the shipped models: a frequent kind comes out right, and every method runs from its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seedbank.errors import UsageError
from seedbank.evaluation.harness import Budget, Problem, run_benchmark
from seedbank.evaluation.methods import BY_NAME
from seedbank.evaluation.problems import shipped_problem
from seedbank.evaluation.report import summarise
from seedbank.models import load_auditor

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def washer() -> Problem:
    problem = shipped_problem("washer", photos=4)
    return replace(problem, config=problem.config.model_copy(update={"num_inference_steps": 6}))


def test_plain_seeds_of_a_frequent_kind_are_right_and_searching_does_no_harm(washer: Problem) -> None:
    methods: list[Any] = [BY_NAME["plain"], replace(BY_NAME["best_of_n"], most=3)]  # type: ignore[type-var]
    rows = run_benchmark(methods, [washer], load_auditor(), budgets=lambda _problem: [Budget()], starts=4, repeats=1)
    plain, best = summarise(rows)
    assert plain.success.rate >= 0.75
    assert best.success.rate >= plain.success.rate - 0.25
    assert rows[0].training_images >= 1000
    assert rows[1].network_evaluations == 4 * rows[0].network_evaluations


@pytest.mark.parametrize("name", ["bo", "reno", "lora"])
def test_a_method_runs_from_its_name_within_a_small_budget(washer: Problem, name: str) -> None:
    budget = Budget("evaluations", network_evaluations=washer.sampler.cost(2) * 6)
    rows = run_benchmark(
        [BY_NAME[name]], [washer], load_auditor(), budgets=lambda _problem: [budget], starts=2, repeats=1
    )
    assert rows[0].method == name
    assert rows[0].network_evaluations <= (budget.network_evaluations or 0)


def test_a_kind_the_world_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a kind of the parts world, got 'dog'"):
        shipped_problem("dog")
