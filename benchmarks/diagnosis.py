"""Whether exploration alone tells what seeds can do: twenty cases whose truth is known, and what `diagnose` says of each.

- *more search*: kinds that plain seeds of the shipped model draw right at least once in 32 (the model card, 200 seeds each);
- *optimise*: kinds that they draw right less often, with two sets of photos each;
- *no*: parts of the zoo, which the model was never shown, asked for under a name that it never read; and photos of one kind asked for by
  the name of another, which the model draws and never as this one.

No case and no photo of these was used when the limit was set. Writes ``results/diagnosis.json`` and ``.md`` beside this file.

    python benchmarks/diagnosis.py                      # about three minutes on two cores
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path

import torch
from PIL import Image

from seedbank.evaluation.bench import machine
from seedbank.evaluation.problems import shipped_problem
from seedbank.models.parts.world import generator, prompt, render
from seedbank.models.parts.zoo import zoo_render
from seedbank.search import code_version
from seedbank.selection import BALANCED
from seedbank.selection.diagnose import OFTEN, Verdict
from seedbank.selection.select import Search
from seedbank.threads import share_cores

RESULTS = Path(__file__).parent / "results"
WORLD_SEED, ZOO_SEED = 31_415, 27_182
"""Renders of no training, test or example set."""
SIDE, PHOTOS = 256, 8
SEARCHED = ("gear", "wrench", "trinut", "hook", "crank", "cross", "clover")
OPTIMISED = ("starknob", "wingnut", "impeller")
UNSEEN, INVENTED = (2000, 2001, 2002, 2004), "sprocketwheel"
MISNAMED = (("wingnut", "bracket"), ("clover", "gear"), ("hook", "washer"))


@dataclass(frozen=True)
class Case:
    """Photos of something, what the model is asked for, and what a diagnosis should say."""

    name: str
    prompt: str
    photos: tuple[Image.Image, ...]
    truth: Verdict


@dataclass(frozen=True)
class Row:
    """What was said of one case."""

    case: str
    truth: Verdict
    verdict: Verdict
    accepted: int
    seeds: int
    guard_distance: float
    objective_distance: float

    @property
    def right(self) -> bool:
        """Whether the verdict is the truth."""
        return self.verdict == self.truth


def cases() -> list[Case]:
    """All twenty; raises ValueError where the model card no longer says what they were chosen for."""
    card = json.loads((files("seedbank.models.parts") / "weights" / "evaluation.json").read_text())
    rates = {kind: row["plain"] for kind, row in card["kinds"].items()}
    found = [Case(kind, prompt(kind), _photos(kind, 0), "more search") for kind in SEARCHED]
    found += [
        Case(f"{kind}, set {k + 1}", prompt(kind), _photos(kind, k), "optimise") for kind in OPTIMISED for k in (0, 1)
    ]
    found += [Case(f"zoo part {k}", prompt(INVENTED), _zoo(k), "no") for k in UNSEEN]
    found += [Case(f"{kind} called {other}", prompt(other), _photos(kind, 2), "no") for kind, other in MISNAMED]
    wrong = [kind for kind in SEARCHED if rates[kind] < OFTEN] + [kind for kind in OPTIMISED if rates[kind] >= OFTEN]
    if wrong:
        raise ValueError(f"expected kinds on their side of {OFTEN:.1%} plain seeds right, got {', '.join(wrong)}")
    return found


def ask(case: Case) -> Row:
    """Explore as the preset ``balanced`` does."""
    problem = shipped_problem("gear")
    sampler = replace(problem, prompt=case.prompt).sampler
    search = Search(sampler, case.photos, problem.encoder, problem.embed, BALANCED, seed=case.name)
    found = search.explore().diagnosis
    return Row(
        case.name,
        case.truth,
        found.verdict,
        found.accepted,
        found.seeds,
        found.guard_distance,
        found.objective_distance,
    )


def write(rows: Sequence[Row], seconds: float) -> None:
    """Table and numbers."""
    about = {"machine": machine(torch.device("cpu")), "code": code_version(), "seconds": round(seconds)}
    document = {"about": about, "rows": [asdict(row) for row in rows]}
    (RESULTS / "diagnosis.json").write_text(json.dumps(document, indent=2) + "\n")
    head = f"Right in {sum(row.right for row in rows)} of {len(rows)} cases; {about['machine']}, {about['code']}, {seconds:.0f} s.\n"
    lines = [head, "| case | truth | said | acceptable | guard away | encoder away |", "|---|---|---|---|---|---|"]
    for row in rows:
        said = row.verdict if row.right else f"**{row.verdict}**"
        share = f"{row.accepted} of {row.seeds}"
        lines.append(
            f"| {row.case} | {row.truth} | {said} | {share} | {row.guard_distance:.1f} | {row.objective_distance:.1f} |"
        )
    (RESULTS / "diagnosis.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Ask all cases, or those whose name begins with a given one, and write only the whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("begins", nargs="?", default="", help="only cases whose name begins so; writes nothing")
    options = parser.parse_args()
    share_cores()
    start, rows = time.perf_counter(), []
    for case in cases():
        if case.name.startswith(options.begins):
            rows.append(ask(case))
            print(f"{rows[-1].case:24} {rows[-1].truth:12} {rows[-1].verdict}", flush=True)
    if not options.begins:
        write(rows, time.perf_counter() - start)


def _photos(kind: str, number: int) -> tuple[Image.Image, ...]:
    first = number * PHOTOS
    return tuple(render(kind, generator(WORLD_SEED, kind, index), SIDE) for index in range(first, first + PHOTOS))


def _zoo(number: int) -> tuple[Image.Image, ...]:
    return tuple(zoo_render(number, index, ZOO_SEED, SIDE) for index in range(PHOTOS))


if __name__ == "__main__":
    main()
