"""Recipes as methods, and budgets that are what the pace maker spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seedbank.errors import UsageError
from seedbank.evaluation.bench import EVALUATIONS, SECONDS, bench_selection, in_order, methods, read_rows, write_results
from seedbank.evaluation.harness import BenchmarkRow, Budget, Problem
from seedbank.evaluation.recipes import RecipeMethod
from seedbank.selection import BALANCED, select
from seedbank.selection.sampling.noise import plain_seed
from seedbank.selection.search.name_effect import UNNAMED
from seedbank.selection.search.recipes import PRESETS, Explore
from support.blind import Blind

SMALL = replace(BALANCED, explore=Explore(size=4, batch=4), iterations=2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets that take milliseconds."""
    for name, recipe in PRESETS.items():
        tiny = replace(recipe, explore=replace(recipe.explore, size=2, preview=0, inverted=()), iterations=1)
        monkeypatch.setitem(PRESETS, name, tiny)


def test_a_recipe_in_the_harness_finds_what_select_finds(problem: Problem, photos: Any) -> None:
    starts = [plain_seed("s", index, problem.sampler.noise_shape) for index in range(2)]
    outcome = RecipeMethod(SMALL).run(problem, starts, Budget())
    found = select(
        problem.pipeline, problem.prompt, _as_pictures(problem), encoder=problem.encoder, guard_encoder=problem.embed,
        recipe=SMALL, starts=2, plain=0, root=starts[0].digest, config=problem.config,
    )  # fmt: skip
    assert [image.tobytes() for image in outcome.images] == [find.image.pixels.tobytes() for find in found.finds]
    assert outcome.network_evaluations == found.cost.network_evaluations
    assert outcome.trace[-1].network_evaluations <= outcome.network_evaluations
    assert len(photos) == len(problem.references)


def _as_pictures(problem: Problem) -> list[Any]:
    from PIL import Image

    from seedbank.selection.sampling.sampler import to_pixels

    return [Image.fromarray(pixels) for pixels in to_pixels(problem.references)]


def test_out_of_reach_a_recipe_draws_the_first_plain_seeds(problem: Problem) -> None:
    blind = Blind(references=len(problem.references))
    recipe = replace(SMALL, explore=Explore(size=128, batch=32))
    starts = [plain_seed("s", index, problem.sampler.noise_shape) for index in range(2)]
    outcome = RecipeMethod(recipe).run(replace(problem, encoder=blind, embed=blind), starts, Budget())
    assert len(outcome.images) == 2
    assert outcome.network_evaluations == problem.sampler.cost(128 + UNNAMED + 2)


def test_every_preset_and_every_baseline_has_a_name() -> None:
    names = set(methods())
    assert set(PRESETS) < names
    assert {"plain", "best_of_n", "reno", "doodl", "seedselect_v1_stop", "bo", "cma", "zero_order", "lora"} < names
    assert all(method.name == name for name, method in methods().items())


@pytest.mark.usefixtures("small")
def test_baselines_are_given_what_balanced_spent_and_presets_spend_their_own(
    problem: Problem, auditor: Any, tmp_path: Path
) -> None:
    names = ["plain", "best_of_n", "balanced", "fast"]
    rows = bench_selection([problem], auditor, names, starts=2, repeats=1)
    by_budget = {(row.method, row.budget): row for row in rows}
    assert list(by_budget) == [
        ("balanced", "unlimited"), ("plain", "unlimited"), ("best_of_n", EVALUATIONS), ("best_of_n", SECONDS),
        ("fast", "unlimited"),
    ]  # fmt: skip
    pace, other = by_budget["balanced", "unlimited"], by_budget["best_of_n", EVALUATIONS]
    assert 0.6 * pace.network_evaluations < other.network_evaluations <= pace.network_evaluations
    paths = write_results(rows, tmp_path, torch.device("cpu"))
    assert all(path.stat().st_size > 200 for path in paths)
    assert "best_of_n" in (tmp_path / "selection.md").read_text()


@pytest.mark.usefixtures("small")
def test_what_was_measured_before_is_not_measured_again(problem: Problem, auditor: Any, tmp_path: Path) -> None:
    names = ["plain", "best_of_n", "balanced"]
    write_results(bench_selection([problem], auditor, names[:1], starts=2, repeats=1), tmp_path, torch.device("cpu"))
    known = list(read_rows(tmp_path / "selection.json").rows)
    measured: list[BenchmarkRow] = []
    rows = bench_selection([problem], auditor, names, starts=2, repeats=2, known=known, observe=measured.append)
    assert [row for row in rows if row.repeat == 0 and row.method != "best_of_n"] == known
    assert {(row.method, row.repeat) for row in measured} == {
        ("balanced", 1), ("plain", 1), ("best_of_n", 0), ("best_of_n", 1)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", r"expected the selection.json of a benchmark at .*, got JSONDecodeError"),
        ('{"rows": [{}], "about": {}}', r"expected the selection.json of a benchmark .* got TypeError"),
        ('{"rows": [], "about": {"code": "old"}}', r"expected rows of code .*, got old; measure again"),
    ],
)
def test_rows_of_another_kind_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "selection.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_rows(tmp_path / "selection.json")


@pytest.mark.usefixtures("small")
def test_rows_of_code_known_to_be_the_same_keep_its_name(problem: Problem, auditor: Any, tmp_path: Path) -> None:
    rows = bench_selection([problem], auditor, ["plain", "balanced"], starts=2, repeats=1)
    write_results(rows, tmp_path, torch.device("cpu"), codes=["old"])
    known = read_rows(tmp_path / "selection.json", same=["old"])
    assert (list(known.rows), known.codes) == (rows, ("old",))
    write_results(known.rows, tmp_path, torch.device("cpu"), codes=[*known.codes, "new"])
    assert "old, new" in (tmp_path / "selection.md").read_text()
    with pytest.raises(
        UsageError, match=r"expected rows of code .*, got old, new; measure again, or name it with --same"
    ):
        read_rows(tmp_path / "selection.json")


@pytest.mark.usefixtures("small")
def test_seconds_of_another_machine_are_no_budget_here(problem: Problem, auditor: Any, tmp_path: Path) -> None:
    here = bench_selection([problem], auditor, ["balanced"], starts=2, repeats=1)
    assert here[0].machine
    there = [replace(row, machine="an old one", seconds=1e6) for row in here]
    measured: list[BenchmarkRow] = []
    rows = bench_selection(
        [problem], auditor, ["best_of_n"], starts=2, repeats=1, budgets=[SECONDS], known=there, observe=measured.append
    )
    assert [(row.method, row.machine) for row in rows] == [("balanced", "an old one"), ("best_of_n", here[0].machine)]
    assert [row.method for row in measured] == ["balanced", "best_of_n"]
    assert rows[1].seconds < 1000
    again = [replace(row, repeat=1) for row in here]
    write_results([*there, *again], tmp_path, torch.device("cpu"))
    assert f"run 1 on an old one; run 2 on {here[0].machine}" in (tmp_path / "selection.md").read_text()
    assert list(read_rows(tmp_path / "selection.json").rows) == [*there, *again]


def test_an_unknown_method_is_used_wrongly(problem: Problem, auditor: Any) -> None:
    with pytest.raises(UsageError, match=r"expected methods among fast, balanced, .* got magic"):
        bench_selection([problem], auditor, ["magic"])


@pytest.mark.usefixtures("small")
def test_joined_runs_stand_once_each_and_in_order(problem: Problem, auditor: Any) -> None:
    rows = bench_selection([problem], auditor, ["plain", "balanced"], starts=2, repeats=2)
    again = [replace(row, seconds=9.0) for row in rows if row.repeat == 1]
    joined = in_order([*rows[::-1], *again], ["washer"])
    assert [(row.method, row.repeat) for row in joined] == [
        ("plain", 0),
        ("plain", 1),
        ("balanced", 0),
        ("balanced", 1),
    ]
    assert [row.seconds == 9.0 for row in joined] == [False, True, False, True]
