"""All methods in one harness: the same starts, budgets that hold, and results that can be trusted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from seedbank.errors import UsageError
from seedbank.evaluation.finetuning import Training, lora, textual_inversion
from seedbank.evaluation.gradient_baselines import DOODL, RENO, SEEDSELECT_STOP
from seedbank.evaluation.harness import BenchmarkRow, Budget, Meter, Method, Problem, measure, run_benchmark
from seedbank.evaluation.methods import BAYES, CMA, ZERO_ORDER, BestOfN, FineTuning, Plain
from seedbank.selection.sampling.noise import stacked
from support.tolerance import tolerance

SAMPLE = 8
"""Network evaluations of one picture: 4 steps, guided."""
STARTS = 2
SMALL = Training(steps=3, batch=2, rate=1e-3)
METHODS: tuple[Method, ...] = (
    Plain(),
    BestOfN(most=6, batch=2),
    replace(BAYES, pool=4, elites=3, most=10),
    replace(CMA, pool=4, elites=3, most=12),
    replace(ZERO_ORDER, pool=2, elites=2, most=10),
    replace(RENO, iterations=3),
    replace(DOODL, iterations=2, gradient="last:1"),
    replace(SEEDSELECT_STOP, iterations=2),
    FineTuning("lora", lora, SMALL),
    FineTuning("textual_inversion", textual_inversion, SMALL),
    BestOfN(most=6, batch=2, pooled=True, name="best_of_pool"),
)
every = pytest.mark.parametrize("method", METHODS, ids=[method.name for method in METHODS])


@every
def test_it_makes_a_judged_picture_for_each_start_and_stays_within_its_budget(
    problem: Problem, starts: list[Any], method: Method
) -> None:
    budget = Budget("evaluations", network_evaluations=8 * STARTS * SAMPLE)
    outcome = method.run(problem, starts, budget)
    counts = {len(getattr(outcome, name)) for name in ("images", "accepted", "objective", "copies", "norm_z")}
    assert counts == {STARTS}
    assert outcome.network_evaluations <= budget.network_evaluations  # type: ignore[operator]
    assert outcome.network_evaluations >= STARTS * SAMPLE
    assert {image.shape for image in outcome.images} == {(16, 16, 3)}
    assert outcome.seconds > 0


@every
def test_the_same_run_gives_the_same_pictures(problem: Problem, starts: list[Any], method: Method) -> None:
    one, two = (method.run(problem, starts, Budget()) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one.images, two.images, strict=True))
    assert one.trace == two.trace


@pytest.mark.parametrize("method", METHODS[1:5], ids=[method.name for method in METHODS[1:5]])
def test_searching_is_never_worse_than_the_start_by_the_objective(
    problem: Problem, starts: list[Any], method: Method
) -> None:
    plain, found = Plain().run(problem, starts, Budget()), method.run(problem, starts, Budget())
    assert all(after <= before + 1e-5 for before, after in zip(plain.objective, found.objective, strict=True))
    assert sum(found.objective) < sum(plain.objective) - 1e-4
    spent = [evaluations for evaluations, _ in found.trace]
    assert spent == sorted(spent)


def test_the_best_of_a_pool_are_the_best_of_the_same_seeds(problem: Problem, starts: list[Any]) -> None:
    each, pool = METHODS[1].run(problem, starts, Budget()), METHODS[-1].run(problem, starts, Budget())
    assert min(pool.objective) == pytest.approx(min(each.objective))
    assert sum(pool.objective) <= sum(each.objective)
    assert pool.network_evaluations == each.network_evaluations


@pytest.mark.parametrize("method", METHODS[1:6], ids=[method.name for method in METHODS[1:6]])
def test_with_no_more_than_the_final_drawing_the_starts_come_back(
    problem: Problem, starts: list[Any], method: Method
) -> None:
    plain = Plain().run(problem, starts, Budget())
    found = method.run(problem, starts, Budget("tight", network_evaluations=STARTS * SAMPLE))
    assert all(np.array_equal(a, b) for a, b in zip(plain.images, found.images, strict=True))
    assert found.network_evaluations == STARTS * SAMPLE


@pytest.mark.parametrize("method", [METHODS[1], METHODS[8]], ids=["best_of_n", "lora"])
def test_a_clock_ends_it(problem: Problem, starts: list[Any], method: Method) -> None:
    unlimited = method.run(problem, starts, Budget())
    found = method.run(problem, starts, Budget("seconds", seconds=unlimited.seconds / 3))
    assert found.network_evaluations < unlimited.network_evaluations


def test_the_meter_keeps_the_final_drawing_back() -> None:
    meter = Meter(Budget("x", network_evaluations=100), reserve=30)
    assert meter.affords(70)
    assert not meter.affords(71)
    meter.spend(50)
    assert (meter.remaining, meter.affords(20), meter.affords(21)) == (20, True, False)
    slow = Meter(Budget("x", seconds=1e-9))
    slow.spend(1)
    assert not slow.affords(1)
    assert Meter(Budget()).affords(10**12)


def test_a_benchmark_gives_every_method_the_same_starts(problem: Problem, auditor: Any) -> None:
    seen: list[BenchmarkRow] = []
    rows = run_benchmark(
        [Plain(), replace(RENO, iterations=1)],
        [problem],
        auditor,
        budgets=lambda _problem: [Budget()],
        starts=2,
        repeats=2,
        observe=seen.append,
    )
    assert [(row.method, row.repeat) for row in rows] == [("plain", 0), ("plain", 1), ("reno", 0), ("reno", 1)]
    assert seen == rows
    assert rows[0].objective == pytest.approx(
        rows[2].objective, abs=tolerance(rows[2].objective, steps=4 + 2)
    )  # the start
    assert rows[0].objective != rows[1].objective
    assert all(1 <= row.vendi <= 2.001 and row.seconds > 0 for row in rows)


def test_the_auditor_judges_what_was_drawn(problem: Problem, auditor: Any, starts: list[Any]) -> None:
    row = measure(Plain(), problem, auditor, starts=starts, budget=Budget())
    pictures = [problem.sampler.draw(stacked([seed]))[0] for seed in starts]
    logits = auditor(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255)
    assert list(row.right) == (logits.argmax(1) == 0).tolist()
    assert row.confidence == pytest.approx(logits.softmax(1)[:, 0].tolist(), abs=tolerance(1.0))
    assert row.copy_rate == 0
    assert row.peak_mib is None or row.peak_mib >= 0


def test_a_concept_the_auditor_does_not_know_is_refused(problem: Problem, auditor: Any) -> None:
    other = replace(problem, concept="impeller")
    with pytest.raises(UsageError, match="concept that the auditor knows, got 'impeller'; it knows disc, square, star"):
        run_benchmark([Plain()], [other], auditor, budgets=lambda _problem: [Budget()])
