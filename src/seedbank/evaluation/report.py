"""What a benchmark's rows say: tables, paired differences, and two pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbank.evaluation.harness import NO_LIMIT, BenchmarkRow
from seedbank.trials.audit import RESAMPLES, Success, success

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """How much more often one method is right than another on the same starts, with a 95 % interval from resampling the starts."""

    mean: float
    low: float
    high: float
    pairs: int

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Summary:
    """All runs of one method with one budget, over some concepts."""

    method: str
    budget: str
    concepts: int
    """On how many."""
    success: Success
    accepted: Success
    """Success among what was accepted."""
    acceptance: float
    vendi: float
    copy_rate: float
    norm_z: float
    whiteness: float
    evaluations_each: float
    """Network evaluations for each accepted image; infinite where none is."""
    seconds_each: float
    seconds: float
    """Of one run."""
    peak_mib: float | None


def paired(rows: Sequence[BenchmarkRow], one: str, other: str, budget: str, *, seed: int = 0) -> Difference:
    """Success of method ``one`` less that of ``other``, over the concepts and repeats that both have."""
    runs = [{_place(row): row for row in rows if (row.method, row.budget) == (name, budget)} for name in (one, other)]
    both = sorted(runs[0].keys() & runs[1].keys())
    if not both:
        return Difference(0.0, -1.0, 1.0, 0)
    gains = np.concatenate([np.subtract(*(np.array(run[place].right, float) for run in runs)) for place in both])
    picked = np.random.default_rng(seed).integers(0, len(gains), (RESAMPLES, len(gains)))
    low, high = np.quantile(gains[picked].mean(1), (0.025, 0.975))
    return Difference(float(gains.mean()), float(low), float(high), len(gains))


def summarise(rows: Sequence[BenchmarkRow]) -> list[Summary]:
    """One line for each method and budget, in the order of the rows."""
    groups: dict[tuple[str, str], list[BenchmarkRow]] = {}
    for row in rows:
        groups.setdefault((row.method, row.budget), []).append(row)
    return [_summary(method, budget, group) for (method, budget), group in groups.items()]


def to_json(rows: Sequence[BenchmarkRow], **about: Any) -> str:
    """All rows and their summaries as one JSON document; ``about`` says what they were measured on."""
    lines = [_finite(asdict(summary)) for summary in summarise(rows)]
    document = {"about": about, "summary": lines, "rows": [_finite(asdict(row)) for row in rows]}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def from_json(text: str) -> tuple[list[BenchmarkRow], dict[str, Any]]:
    """The rows that :func:`to_json` wrote, and what it says about them.

    Raises:
        ValueError, KeyError, TypeError: it is no such document.
    """
    document = json.loads(text)
    return [
        BenchmarkRow(**{name: _tuples(value) for name, value in row.items()}) for row in document["rows"]
    ], document["about"]


def to_markdown(rows: Sequence[BenchmarkRow]) -> str:
    """Three tables: the methods over all concepts; by concept, with the number of its training images, each method's success; and how
    many of the pictures that are accepted are right."""
    tables = (
        _overview(rows),
        _by_concept(rows, "right", _right),
        _by_concept(rows, "right of accepted", _right_of_accepted),
    )
    return "\n\n".join("\n".join(table) for table in tables) + "\n"


def plot_success(rows: Sequence[BenchmarkRow], path: Path, methods: Sequence[str] = (), *, budget: str = "") -> None:
    """Success against how often the model saw the concept: the paper's picture. Bars are 95 % intervals.

    Args:
        rows: of a benchmark.
        path: of the PNG.
        methods: which to show; default all.
        budget: which to show; default the first of each method.
    """
    figure, axes = _figure()
    chosen = _chosen(rows, methods, budget)
    for number, (method, group) in enumerate(chosen.items()):
        points = sorted({row.training_images for row in group})
        rates = [_success(row for row in group if row.training_images == count) for count in points]
        reach = np.array([[rate.rate - rate.low for rate in rates], [rate.high - rate.rate for rate in rates]])
        places = [count * 1.04 ** (number - (len(chosen) - 1) / 2) for count in points]  # side by side, not on top
        heights = [rate.rate for rate in rates]
        name = method if group[0].budget == NO_LIMIT else f"{method}, {group[0].budget}"
        look = {"color": _colour(method, number), "linewidth": 1.6, "markersize": 5}
        axes.errorbar(places, heights, np.clip(reach, 0, None), marker="o", capsize=3, label=name, **look)
    axes.set(xscale="log", ylim=(-0.03, 1.03), xlabel="training images of the concept", ylabel="right by the auditor")
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _position: "")
    _save(figure, axes, path)


def plot_hacking(rows: Sequence[BenchmarkRow], path: Path, methods: Sequence[str] = (), *, budget: str = "") -> None:
    """Every picture's objective against the auditor's confidence.

    Were the objective fooled, pictures would lie at the lower left: a low loss that the auditor does not believe.
    """
    figure, axes = _figure()
    for number, (method, group) in enumerate(_chosen(rows, methods, budget).items()):
        losses = np.concatenate([row.objective for row in group])
        trust = np.concatenate([row.confidence for row in group])
        label = f"{method} (rank correlation {_rank_correlation(losses, trust):+.2f})"
        axes.scatter(losses, trust, 14, color=_colour(method, number), alpha=0.55, linewidths=0, label=label)
    axes.set(ylim=(-0.03, 1.03), xlabel="objective (lower is nearer the references)", ylabel="the auditor's confidence")
    _save(figure, axes, path)


def _summary(method: str, budget: str, rows: Sequence[BenchmarkRow]) -> Summary:
    accepted = sum(sum(row.accepted) for row in rows)
    evaluations, seconds = sum(row.network_evaluations for row in rows), sum(row.seconds for row in rows)
    peaks = [row.peak_mib for row in rows if row.peak_mib is not None]
    return Summary(
        method=method,
        budget=budget,
        concepts=len({row.concept for row in rows}),
        success=_success(rows),
        accepted=success(_accepted(rows)),
        acceptance=accepted / sum(len(row.right) for row in rows),
        vendi=float(np.mean([row.vendi for row in rows])),
        copy_rate=float(np.mean([row.copy_rate for row in rows])),
        norm_z=float(np.mean([row.norm_z for row in rows])),
        whiteness=float(np.mean([row.whiteness for row in rows])),
        evaluations_each=evaluations / accepted if accepted else float("inf"),
        seconds_each=seconds / accepted if accepted else float("inf"),
        seconds=seconds / len(rows),
        peak_mib=max(peaks) if peaks else None,
    )


def _overview(rows: Sequence[BenchmarkRow]) -> list[str]:
    columns = (
        "method", "budget", "kinds", "images", "right", "right among accepted", "accepted", "different images", "copies",
        "norm", "whiteness", "evaluations an accepted image", "seconds an accepted image", "seconds a run", "peak MiB",
    )  # fmt: skip
    return [_line(columns), _line(["---"] * len(columns)), *(_line(_cells(summary)) for summary in summarise(rows))]


def _cells(found: Summary) -> list[str]:
    return [
        f"`{found.method}`",
        found.budget,
        str(found.concepts),
        str(found.success.count),
        _rate(found.success),
        _rate(found.accepted) if found.accepted.count else "none accepted",
        f"{found.acceptance:.0%}",
        f"{found.vendi:.1f}",
        f"{found.copy_rate:.0%}",
        f"{found.norm_z:.1f}",
        f"{found.whiteness:.1f}",
        f"{found.evaluations_each:,.0f}",
        f"{found.seconds_each:.1f}",
        f"{found.seconds:.1f}",
        "" if found.peak_mib is None else f"{found.peak_mib:,.0f}",
    ]


def _by_concept(rows: Sequence[BenchmarkRow], what: str, cell: Callable[[Sequence[BenchmarkRow]], str]) -> list[str]:
    counts = dict(sorted({row.concept: row.training_images for row in rows}.items(), key=lambda item: -item[1]))
    shown = list(dict.fromkeys((row.method, row.budget) for row in rows))
    head = _line([what, "budget", *(f"{concept} ({count:,})" for concept, count in counts.items())])
    lines = [head, _line(["---"] * (2 + len(counts)))]
    for method, budget in shown:
        groups = [[row for row in rows if (row.method, row.budget, row.concept) == (method, budget, c)] for c in counts]
        lines.append(_line([f"`{method}`", budget, *(cell(group) if group else "" for group in groups)]))
    return lines


def _right(rows: Sequence[BenchmarkRow]) -> str:
    return _rate(_success(rows))


def _right_of_accepted(rows: Sequence[BenchmarkRow]) -> str:
    kept = _accepted(rows)
    return f"{int(kept.sum())} of {len(kept)}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rate(found: Success) -> str:
    return f"{found.rate:.0%} ({found.low:.0%} to {found.high:.0%})"


def _success(rows: Any) -> Success:
    return success(np.concatenate([np.array(row.right, bool) for row in rows]))


def _accepted(rows: Sequence[BenchmarkRow]) -> Bools:
    """Whether each accepted picture is right."""
    return np.concatenate([np.array(row.right, bool)[np.array(row.accepted, bool)] for row in rows])


def _place(row: BenchmarkRow) -> tuple[str, int]:
    return row.concept, row.repeat


def _chosen(rows: Sequence[BenchmarkRow], methods: Sequence[str], budget: str) -> dict[str, list[BenchmarkRow]]:
    """The rows of each method, of one budget."""
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(row.method, row.budget)
    names = list(methods) or list(first)
    chosen = {
        name: [row for row in rows if row.method == name and row.budget in (budget or first.get(name), NO_LIMIT)]
        for name in names
    }
    return {name: group for name, group in chosen.items() if group}


def _rank_correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Spearman's; 0 where one of them does not vary."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (one, other)]
    return 0.0 if any(np.ptp(values) == 0 for values in ranks) else float(np.corrcoef(*ranks)[0, 1])


def _finite(value: Any) -> Any:
    """JSON has no infinity: None stands for it."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _tuples(value: Any) -> Any:
    """JSON knows lists only."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


_COLOURS = {"plain": "#8a94a6", "best_of_n": "#d08a2e", "balanced": "#2563a8", "seedselect_v1": "#b0413e"}
"""The same in every picture, for the methods that most pictures show."""
_MORE_COLOURS = ("#2f855a", "#7a5aa8", "#3a3f47", "#c2678f", "#5b9aa0")


def _colour(method: str, number: int) -> str:
    return _COLOURS.get(method, _MORE_COLOURS[number % len(_MORE_COLOURS)])


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _save(figure: Any, axes: Any, path: Path) -> None:
    """Without a time stamp, so that equal rows give equal files."""
    axes.legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
