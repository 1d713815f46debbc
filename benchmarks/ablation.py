"""What each part of the preset ``balanced`` is worth: the preset, and the preset with one thing changed.

Same kinds, photos and starts for all; the auditor, which has no say in any of it, judges. Then guards are compared on all the pictures that
were made. Writes ``results/ablation.json`` and ``.md`` beside this file; ``--known`` keeps the rows of earlier runs.

    python benchmarks/ablation.py                       # about twenty minutes on two cores
    python benchmarks/ablation.py --only no-cutouts --only no-contrast
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seedbank.evaluation.harness import POOL, BenchmarkRow, Budget, Outcome, Problem, run_benchmark
from seedbank.evaluation.machine import machine
from seedbank.evaluation.problems import shipped_problem
from seedbank.evaluation.recipes import RecipeMethod
from seedbank.evaluation.report import from_json, paired, summarise, to_json
from seedbank.models import load_auditor
from seedbank.models.parts.examples import photo
from seedbank.selection import BALANCED, Recipe
from seedbank.selection.judging.guard import make_guard
from seedbank.selection.judging.targets import stack_images, through_codec
from seedbank.selection.sampling.noise import draws
from seedbank.selection.sampling.sampler import from_pixels
from seedbank.selection.search.recipes import AdamW, Explore
from seedbank.selection.seeds import Seed
from seedbank.settings import share_cores
from seedbank.trials.audit import Pixels, audit, label_of
from seedbank.trials.code import code_version

RESULTS = Path(__file__).parent / "results"
KINDS = ("clover", "wingnut")
"""Of the first the model saw 18, of the second 9; photos and starts are not those of the selection benchmark."""
STARTS = 16
PLAN, STOP = BALANCED.explore, BALANCED.stop


def variants() -> dict[str, tuple[str, Recipe]]:
    """What is changed, in words, and the recipe, by name."""
    changed: dict[str, tuple[str, dict[str, Any]]] = {
        "balanced": ("nothing", {}),
        "no-exploration": ("starts are the first seeds drawn", {"explore": Explore(size=STARTS, ranked=False)}),
        "explore-half": ("4 seeds explored for each start, not 8", {"explore": replace(PLAN, size=64, per_start=4)}),
        "explore-twice": ("16 seeds explored for each start", {"explore": replace(PLAN, size=256, per_start=16)}),
        "best-alone": ("the best starts, alike or not", {"explore": replace(PLAN, shortlist=1.0)}),
        "no-spare": ("no spare starts", {"spare": 1.0}),
        "to-the-end": ("no stop where it is near enough", {"stop": replace(STOP, near_enough=False)}),
        "no-cutouts": ("gradient of the whole picture alone", {"cutouts": 0}),
        "no-contrast": ("nothing pulls away from what is drawn instead", {"contrast": 0.0}),
        "no-repair": ("whiteness is not repaired", {"max_whiteness": 1e9}),
        "last": ("the last iterate is kept, whatever the guard says", {"keep": "last"}),
        "full": ("gradient through all steps", {"gradient": "full"}),
        "paper-losses": ("SeedSelect's losses: raw centroid, mean latents", {"objective": "paper", "appearance": 1.0}),
        "adamw": ("AdamW on the noise, as SeedSelect steps", {"update": AdamW()}),
    }
    return {name: (words, replace(BALANCED, name=name, **changes)) for name, (words, changes) in changed.items()}


@dataclass(frozen=True)
class Kept:
    """A recipe as a method, whose pictures are kept by concept."""

    inner: RecipeMethod
    pictures: dict[str, list[Pixels]]

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.inner.name

    def run(self, problem: Problem, starts: Sequence[Seed], budget: Budget) -> Outcome:
        """As the recipe does."""
        outcome = self.inner.run(problem, starts, budget)
        self.pictures.setdefault(problem.concept, []).extend(outcome.images)
        return outcome


GUARDS: dict[str, dict[str, Any]] = {
    "four orientations, contrast": {"turns": 4, "contrast": True},
    "upright only, contrast": {"turns": 1, "contrast": True},
    "four orientations, no contrast": {"turns": 4, "contrast": False},
    "upright only, no contrast": {"turns": 1, "contrast": False},
}


@torch.no_grad()
def judge(problem: Problem, pictures: Sequence[Pixels], right: npt.NDArray[np.bool_]) -> dict[str, tuple[int, int]]:
    """Pictures that each guard accepts, and how many of those are right."""
    family, found = problem.sampler.family, {}
    noise = draws(f"{problem.concept}/pool", range(POOL), problem.sampler.noise_shape)
    plain = family.decode(problem.sampler.denoise(noise)).clamp(0, 1)
    images = from_pixels(np.stack(pictures))
    for name, how in GUARDS.items():
        guard = make_guard(
            problem.photos, problem.embed, seen=through_codec(problem.photos, family), turns=how["turns"]
        )
        guard = guard.against(guard.embed(plain)) if how["contrast"] else guard
        accepted = (guard.similarity(images) >= guard.threshold).numpy()
        found[name] = int(accepted.sum()), int((accepted & right).sum())
    return found


def main() -> None:
    """Measure, writing after each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(variants()), help="a variant; several are allowed")
    parser.add_argument(
        "--known", action="append", type=Path, help="an ablation.json whose runs are kept, not measured again"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    share_cores()
    rows = [row for path in options.known or () for row in from_json(path.read_text())[0]]
    problems, auditor = [_problem(kind) for kind in KINDS], load_auditor()
    pictures: dict[str, list[Pixels]] = {}
    for name, (words, recipe) in variants().items():
        if options.only and name not in options.only:
            continue
        rows += run_benchmark(
            [Kept(RecipeMethod(recipe), pictures)], problems, auditor, budgets=lambda _problem: [Budget()], starts=STARTS,
            repeats=1, root="ablation", known=rows,
            observe=lambda row, words=words: print(f"{words:52} {row.concept:8} {sum(row.right)}", flush=True),
        )  # fmt: skip
        write(rows, {}, len(pictures), options.out)
    guards: dict[str, tuple[int, int]] = {}
    for problem in problems:
        made = pictures.get(problem.concept, [])
        if made and (label := label_of(auditor, problem.concept)) is not None:
            for name, (accepted, right) in judge(problem, made, audit(auditor, made, label)).items():
                before = guards.get(name, (0, 0))
                guards[name] = before[0] + accepted, before[1] + right
    write(rows, guards, sum(map(len, pictures.values())), options.out)


def _problem(kind: str) -> Problem:
    """With photos 11 to 18, which no other benchmark uses."""
    problem = shipped_problem(kind)
    photos = [photo(kind, number) for number in range(11, 19)]
    return replace(problem, references=stack_images(photos, problem.config.height, problem.config.width))


def write(rows: Sequence[BenchmarkRow], guards: dict[str, tuple[int, int]], pictures: int, folder: Path) -> None:
    """Tables and numbers, in the order of the variants."""
    order = list(variants())
    rows = sorted({(row.method, row.concept): row for row in rows}.values(), key=lambda row: order.index(row.method))
    about = {
        "machine": machine(),
        "code": code_version(),
        "starts": STARTS,
        "kinds": KINDS,
        "guards": guards,
    }
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
    if guards:
        lines += [
            "",
            f"Guards alone, on {pictures} pictures of the runs above:",
            "",
            "| guard | accepts | of these right |",
            "|---|---|---|",
        ]
        lines += [
            f"| {name} | {accepted} | {right / max(accepted, 1):.0%} |" for name, (accepted, right) in guards.items()
        ]
    (folder / "ablation.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
