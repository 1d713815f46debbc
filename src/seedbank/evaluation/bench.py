"""The benchmark of seed selection: methods by rare kinds of the shipped model, at equal network evaluations and at equal seconds.

``balanced`` runs first, as it likes; what it spent on a concept is what the others are given there, once in network evaluations and once
in seconds of the same machine. Plain seeds and all presets, SeedSelect as released among them, spend what they spend.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seedbank.errors import UsageError
from seedbank.evaluation.harness import BenchmarkRow, Budget, Method, Problem, run_benchmark
from seedbank.evaluation.machine import machine
from seedbank.trials.code import SEARCH, code_version

if TYPE_CHECKING:
    import torch

    from seedbank.models import Auditor

PACE = "balanced"
"""The method whose cost is the others' budget."""
EVALUATIONS, SECONDS = "equal evaluations", "equal seconds"
Observe = Callable[[BenchmarkRow], None]


def methods() -> dict[str, Method]:
    """Every method by its name: ours, the baselines, the two fine-tunings."""
    from seedbank.evaluation.methods import BY_NAME
    from seedbank.evaluation.recipes import RecipeMethod
    from seedbank.selection.search.recipes import PRESETS

    return {**{name: RecipeMethod(recipe) for name, recipe in PRESETS.items()}, **BY_NAME}


def measuring_code() -> str:
    """The version of the code that rows come from: the search, and every method that it is compared with."""
    methods = ("seedbank.evaluation.harness", "seedbank.evaluation.methods", "seedbank.evaluation.recipes")
    return code_version((*SEARCH, *methods))


def bench_selection(
    problems: Sequence[Problem],
    auditor: Auditor,
    names: Sequence[str],
    *,
    starts: int = 16,
    repeats: int = 3,
    budgets: Sequence[str] = (EVALUATIONS, SECONDS),
    known: Sequence[BenchmarkRow] = (),
    observe: Observe = lambda _row: None,
) -> list[BenchmarkRow]:
    """All rows, concept by concept, so that a run that is cut off has whole concepts.

    Runs that are among ``known`` are taken from there; ``observe`` is told of the others.

    Raises:
        UsageError: an unknown method.
    """
    from seedbank.selection.search.recipes import PRESETS

    by_name = methods()
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise UsageError(f"expected methods among {', '.join(by_name)}, got {', '.join(unknown)}")
    rows: list[BenchmarkRow] = []
    for problem in problems:

        def run(
            name: str, limits: Sequence[Budget], problem: Problem = problem, known: Sequence[BenchmarkRow] = known
        ) -> list[BenchmarkRow]:
            return run_benchmark(
                [by_name[name]],
                [problem],
                auditor,
                budgets=lambda _problem: limits,
                starts=starts,
                repeats=repeats,
                known=known,
                observe=observe,
            )

        pace = run(PACE, [Budget()])
        rows += pace
        free = {"plain", *PRESETS}
        timed = [row for row in pace if row.machine == machine(problem.sampler.family.device)]
        if SECONDS in budgets and not timed and not free.issuperset(names):
            timed = run(PACE, [Budget()], known=())  # another machine's seconds are no measure of this one's
        for name in names:
            if name != PACE:
                rows += run(name, [Budget()] if name in free else _equal(pace, timed, budgets))
    return rows


def _equal(pace: Sequence[BenchmarkRow], timed: Sequence[BenchmarkRow], wanted: Iterable[str]) -> list[Budget]:
    """As much as the pace maker spent on average, of each kind that is wanted; of seconds, what it spent in ``timed``."""
    evaluations = sum(row.network_evaluations for row in pace) // len(pace)
    seconds = sum(row.seconds for row in timed) / max(len(timed), 1)
    both = {
        EVALUATIONS: Budget(EVALUATIONS, network_evaluations=evaluations),
        SECONDS: Budget(SECONDS, seconds=seconds),
    }
    return [both[kind] for kind in wanted]


def _machines(rows: Sequence[BenchmarkRow], device: torch.device) -> str:
    """The machine; of several, which runs each did."""
    runs: dict[str, set[int]] = {}
    for row in rows:
        runs.setdefault(row.machine or machine(device), set()).add(row.repeat + 1)
    if len(runs) == 1:
        return next(iter(runs))
    each = (
        f"{'run' if len(done) == 1 else 'runs'} {', '.join(map(str, sorted(done)))} on {name}"
        for name, done in runs.items()
    )
    return "; ".join(each)


@dataclass(frozen=True)
class Known:
    """Rows measured before, and the versions of the code that measured them."""

    rows: tuple[BenchmarkRow, ...]
    codes: tuple[str, ...]


def read_rows(path: Path, *, same: Sequence[str] = ()) -> Known:
    """The rows of a ``selection.json`` that :func:`write_results` wrote.

    Args:
        path: the file.
        same: versions of the code whose methods are known to be the same as this one's, though its files differ.

    Raises:
        UsageError: there is no such file, or other code measured it: its rows do not belong in one table with new ones.
    """
    from seedbank.evaluation.report import from_json

    try:
        rows, about = from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"expected the selection.json of a benchmark at {path}, got {error!r}") from error
    codes = str(about.get("code")).split(", ")
    if strange := [code for code in codes if code not in (measuring_code(), *same)]:
        raise UsageError(
            f"expected rows of code {measuring_code()} in {path}, got {', '.join(strange)}; measure again, or name it with "
            "--same-code if you know that the methods are the same"
        )
    return Known(tuple(rows), tuple(codes))


def in_order(rows: Sequence[BenchmarkRow], concepts: Sequence[str]) -> list[BenchmarkRow]:
    """Each run once, of two the later, by method as they first appear, then by concept and repeat."""
    each = {(row.method, row.budget, row.concept, row.repeat): row for row in rows}
    shown = list(dict.fromkeys(place[:2] for place in each))
    known = [*concepts, *(row.concept for row in rows)]
    return sorted(
        each.values(), key=lambda row: (shown.index((row.method, row.budget)), known.index(row.concept), row.repeat)
    )


def write_results(
    rows: Sequence[BenchmarkRow], folder: Path, device: torch.device, *, codes: Sequence[str] | None = None
) -> list[Path]:
    """Rows, table and both plots below ``folder``; their paths. ``codes`` measured them, by default this one.

    ``device`` is named where a row does not say what it was measured on.
    """
    from seedbank.evaluation.report import plot_hacking, plot_success, to_json, to_markdown

    folder.mkdir(parents=True, exist_ok=True)
    code = ", ".join(dict.fromkeys(codes or [measuring_code()]))
    about = {"machine": _machines(rows, device), "code": code, "seconds": round(sum(row.seconds for row in rows))}
    paths = {kind: folder / f"selection{kind}" for kind in (".json", ".md", "-success.png", "-hacking.png")}
    paths[".json"].write_text(to_json(rows, **about))
    size = f"{len({row.concept for row in rows})} kinds, {len(rows[0].right)} starts a run"
    head = f"Auditor's success, {size}; {about['machine']}, {about['code']}, {time.strftime('%Y-%m-%d')}.\n\n"
    paths[".md"].write_text(head + to_markdown(rows))
    shown = [name for name in ("plain", "best_of_n", PACE) if any(row.method == name for row in rows)]
    plot_success(rows, paths["-success.png"], shown, budget=SECONDS if SECONDS in {row.budget for row in rows} else "")
    plot_hacking(
        rows, paths["-hacking.png"], [name for name in (PACE, "seedselect_v1") if name in {r.method for r in rows}]
    )
    return list(paths.values())
