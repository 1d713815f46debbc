"""Whether the time that a search says is left is the time that it then takes.

Searches of the shipped model, each told of its remaining time twice: as on a machine that never ran one (speeds from the first batch on),
and as on one that ran another concept before. Compared is what was said when 10, 30, 50 and 70 % of the time had passed, and what had
been said before the start, with what was then left. In processor seconds, since the machine may be shared. Writes ``results/estimate.json``
and ``.md`` beside this file.

    python benchmarks/estimate.py                        # ten minutes on two cores
    python benchmarks/estimate.py hook --presets fast    # only these; writes nothing
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seedbank.evaluation.machine import machine
from seedbank.models.loading import Models, load_models
from seedbank.models.parts.examples import photo
from seedbank.models.parts.world import prompt
from seedbank.models.profiles import load_profile
from seedbank.selection import preset, select
from seedbank.selection.sampling.sampler import make_sampler
from seedbank.settings import share_cores
from seedbank.trials.code import code_version
from seedbank.trials.estimate import estimate
from seedbank.trials.observe import position_of
from seedbank.trials.pace import Pace
from seedbank.trials.workload import Position, Search, Speeds

RESULTS, PROFILE = Path(__file__).parent / "results", Path(__file__).parents[1] / "models" / "parts.yaml"
CONCEPTS, PRESETS = ("hook", "wrench", "impeller"), ("fast", "balanced")
"""A kind that ends as early as most, one that ends earliest, one that ends latest."""
OTHER = "crank"
"""Whose search the known speeds are of."""
PHOTOS, STARTS, PLAIN = 8, 8, 8
KNOWN = {"first": "No speed known before", "later": "Speeds known"}
THIRD = 1 / 3
AT = (0.0, 0.1, 0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Row:
    """One search: what it took in processor seconds, and predicted over real of what was left, by the share that had passed."""

    concept: str
    preset: str
    seconds: float
    evaluations: int
    expected_evaluations: int
    most_evaluations: int
    first: dict[float, float | None]
    later: dict[float, float | None]


@dataclass(frozen=True)
class Run:
    """One search as it was seen: what was to be done, where it was at which processor second, and what it cost."""

    search: Search
    told: tuple[tuple[float, Position], ...]
    evaluations: int


def main() -> None:
    """Measure and write it down."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("concepts", nargs="*", help="default all three; fewer write nothing")
    options.add_argument("--presets", nargs="+", default=PRESETS)
    asked = options.parse_args()
    share_cores()
    models = load_models(load_profile(PROFILE))
    speeds = replayed(searched(models, "fast", OTHER), Speeds())[1]
    rows = [measure(models, name, concept, speeds) for name in asked.presets for concept in asked.concepts or CONCEPTS]
    found = {"machine": machine(), "code": code_version(), "rows": [asdict(row) for row in rows]}
    print(page(found))
    if not asked.concepts and tuple(asked.presets) == PRESETS:
        (RESULTS / "estimate.json").write_text(json.dumps(found, indent=1) + "\n")
        (RESULTS / "estimate.md").write_text(page(found))


def measure(models: Models, name: str, concept: str, speeds: Speeds) -> Row:
    """One search, and what would have been said of it with no speed known and with ``speeds``."""
    run = searched(models, name, concept)
    rest, total = estimate(run.search), run.told[-1][0]
    first, later = ({at: _ratio(replayed(run, known)[0], at, total) for at in AT} for known in (Speeds(), speeds))
    row = Row(
        concept,
        name,
        round(total, 1),
        run.evaluations,
        round(rest.network_evaluations),
        rest.most_network_evaluations,
        first,
        later,
    )
    print(row, flush=True)
    return row


def searched(models: Models, name: str, concept: str) -> Run:
    """Run one search."""
    recipe = models.profile.adapt(preset(name, starts=STARTS))
    sampler = make_sampler(models.model.pipeline, "", models.model.sampler)
    told: list[tuple[float, Position]] = []
    begun = time.process_time()
    found = select(
        models.model.pipeline,
        prompt(concept),
        [photo(concept, number) for number in range(1, PHOTOS + 1)],
        encoder=models.encoder,
        guard_encoder=models.guard,
        recipe=recipe,
        starts=STARTS,
        plain=PLAIN,
        config=models.model.sampler,
        observe=lambda event: told.append((time.process_time() - begun, position_of(event))),
    )
    search = Search(recipe=recipe, starts=STARTS, plain=PLAIN, steps=len(sampler.steps), references=PHOTOS, small=True)
    return Run(search, tuple(told), found.cost.network_evaluations)


def replayed(run: Run, known: Speeds) -> tuple[list[tuple[float, float | None]], Speeds]:
    """What is said at each second of the time that is left, and the speeds that are measured on the way."""
    now = 0.0
    pace = Pace(run.search, known, clock=lambda: now)
    said = [(0.0, pace.forecast().left)]
    for at, position in run.told:
        now = at
        said.append((at, pace.note(position).left))
    return said, pace.measured


def _ratio(said: list[tuple[float, float | None]], share: float, total: float) -> float | None:
    """Predicted over real, by the last that was said when ``share`` of the ``total`` had passed; None where nothing was."""
    now, left = [each for each in said if each[0] <= share * total][-1]
    # What was said has been running down since.
    return None if left is None else round(max(left - (share * total - now), 0.0) / ((1 - share) * total), 2)


def page(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    head = " | ".join(f"{at:.0%}" for at in AT)
    lines = [
        "# Remaining time, predicted over real",
        "",
        f"{found['machine']}; code {found['code']}; {STARTS} candidates, processor seconds. Each cell: on a machine that never "
        "ran a search / on one that ran another concept's. Written by `benchmarks/estimate.py`.",
        "",
        f"| concept | preset | seconds | evaluations: real, expected, most | {head} |",
        "|---|---|---|---|" + "---|" * len(AT),
    ]
    for row in found["rows"]:
        cells = " | ".join(f"{_said(row['first'][at])} / {_said(row['later'][at])}" for at in AT)
        numbers = f"{row['evaluations']}, {row['expected_evaluations']}, {row['most_evaluations']}"
        lines.append(f"| {row['concept']} | `{row['preset']}` | {row['seconds']:.0f} | {numbers} | {cells} |")
    lines += ["", *(_summary(found["rows"], name, words) for name, words in KNOWN.items())]
    return "\n".join(lines) + "\n"


def _summary(rows: Sequence[dict[str, Any]], name: str, words: str) -> str:
    ratios = [ratio for row in rows for at, ratio in row[name].items() if at and ratio is not None]
    within = sum(abs(ratio - 1) <= THIRD for ratio in ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"- {words}: {within} of {len(ratios)} cells after the first are right within a third; {spread}."


def _said(ratio: float | None) -> str:
    return "not yet" if ratio is None else f"{ratio:.2f}"


if __name__ == "__main__":
    main()
