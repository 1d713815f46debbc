"""What each part of the preset ``balanced`` is worth: the preset, and the preset with one thing changed.

Same kinds, photos and starts for all; the auditor, which has no say in any of it, judges. Writes ``results/ablation.json`` and ``.md``
beside this file after each variant; ``--only`` measures some variants and keeps the other rows that are there.

    python benchmarks/ablation.py                       # about half an hour on two cores
    python benchmarks/ablation.py --only no-views --only no-contrast
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seedbank.evaluation.bench import machine
from seedbank.evaluation.harness import Budget, Row, run_benchmark
from seedbank.evaluation.problems import shipped_problem
from seedbank.evaluation.recipes import RecipeMethod
from seedbank.evaluation.report import from_json, paired, summarise, to_json
from seedbank.models import load_auditor
from seedbank.search import code_version
from seedbank.selection import BALANCED, Recipe
from seedbank.selection.recipes import AdamW, Explore, Stop
from seedbank.threads import share_cores

RESULTS = Path(__file__).parent / "results"
KINDS = ("crank", "clover", "wingnut")
"""Seeds nearly suffice for the first; the third has nine training images."""
STARTS = 16
PLAN, STOP = BALANCED.explore, BALANCED.stop


def variants() -> dict[str, tuple[str, Recipe]]:
    """What is changed, in words, and the recipe, by name."""
    changed: dict[str, tuple[str, dict[str, Any]]] = {
        "balanced": ("nothing", {}),
        "no-exploration": ("starts are the first seeds drawn", {"explore": Explore(size=STARTS, ranked=False)}),
        "explore-half": ("8 seeds explored for each start, not 16", {"explore": replace(PLAN, size=64, each=8)}),
        "best-alone": ("the best starts, alike or not", {"explore": replace(PLAN, shortlist=1.0)}),
        "no-spare": ("no spare starts", {"spare": 1.0}),
        "to-the-end": ("no stop where it is near enough", {"stop": replace(STOP, near_enough=False)}),
        "no-stop": ("no stop at all", {"stop": Stop(stale=0, hacked=0, cornered=0)}),
        "no-views": ("gradient of the whole picture alone", {"views": 0}),
        "no-contrast": ("nothing pulls away from what is drawn instead", {"contrast": 0.0}),
        "no-appearance": ("no coarse appearance", {"appearance": 0.0}),
        "no-repair": ("whiteness is not repaired", {"white": 1e9}),
        "no-codec": ("photos are embedded as they are", {"match_codec": False}),
        "last": ("the last iterate is kept, whatever the guard says", {"keep": "last"}),
        "full": ("gradient through all steps", {"gradient": "full"}),
        "last-2": ("gradient through the last two steps", {"gradient": "last:2"}),
        "adamw": ("AdamW on the noise, as SeedSelect steps", {"update": AdamW()}),
    }
    return {name: (words, replace(BALANCED, name=name, **changes)) for name, (words, changes) in changed.items()}


def main() -> None:
    """Measure, writing after each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(variants()), help="a variant; several are allowed")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    share_cores()
    rows = _kept(options.out / "ablation.json")
    problems, auditor = [shipped_problem(kind) for kind in KINDS], load_auditor()
    for name, (words, recipe) in variants().items():
        if options.only and name not in options.only:
            continue
        rows = [row for row in rows if row.method != name]
        rows += run_benchmark(
            [RecipeMethod(recipe)], problems, auditor, budgets=lambda _problem: [Budget()], starts=STARTS, repeats=1,
            root="ablation", observe=lambda row, words=words: print(f"{words:52} {row.concept:8} {sum(row.right)}", flush=True),
        )  # fmt: skip
        write(rows, options.out)


def write(rows: Sequence[Row], folder: Path) -> None:
    """Table and numbers, in the order of the variants."""
    order = list(variants())
    rows = sorted(rows, key=lambda row: order.index(row.method))
    about = {"machine": machine(torch.device("cpu")), "code": code_version(), "starts": STARTS, "kinds": KINDS}
    (folder / "ablation.json").write_text(to_json(rows, **about))
    head = f"`balanced` with one thing changed; {', '.join(KINDS)}, {STARTS} starts each; {about['machine']}, {about['code']}.\n"
    columns = "| changed | right | less balanced's (95 %) | right among accepted | accepted | images differ | whiteness | seconds a run |"
    lines = [head, columns, "|---|---|---|---|---|---|---|---|"]
    for found in summarise(rows):
        gain = paired(rows, found.method, "balanced", found.budget)
        change = f"{gain.mean:+.0%} ({gain.low:+.0%} to {gain.high:+.0%})" if found.method != "balanced" else ""
        cells = (
            variants()[found.method][0], f"{found.success.rate:.0%}", change, f"{found.accepted.rate:.0%}",
            f"{found.acceptance:.0%}", f"{found.vendi:.1f}", f"{found.whiteness:.1f}", f"{found.seconds:.0f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    (folder / "ablation.md").write_text("\n".join(lines) + "\n")


def _kept(path: Path) -> list[Row]:
    return from_json(path.read_text())[0] if path.exists() else []


if __name__ == "__main__":
    main()
