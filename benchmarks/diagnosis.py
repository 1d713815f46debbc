"""Whether exploration alone tells what seeds can do: what `diagnose` says of twenty cases, and what then happens.

- photos of kinds that the shipped model draws often;
- photos of its rarest kinds, two sets each;
- photos of parts of the zoo, which the model was never shown, asked for by a name that it never read;
- photos of one kind, asked for by the name of another, which the model draws, and never as this one.

The truth is the outcome. *sample*: of 128 further plain seeds one in 32 or more are acceptable to the guard and to the encoder. Else
*optimise*: of eight seeds that the preset ``balanced`` ends with, whatever was said, one or more are accepted. Else *unreachable*. The
limits were set on other photos, other parts of the zoo and other pools. Writes ``results/diagnosis.json`` and ``.md`` beside this file.

    python benchmarks/diagnosis.py                      # about a quarter of an hour on two cores
    python benchmarks/diagnosis.py zoo                  # only cases whose name begins so; writes nothing
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from seedbank.evaluation.machine import machine
from seedbank.evaluation.problems import shipped_problem
from seedbank.models.parts.world import generator, prompt, render
from seedbank.models.parts.zoo import zoo_render
from seedbank.selection import BALANCED
from seedbank.selection.sampling.noise import draws
from seedbank.selection.search.diagnose import GAP_LIMIT, SAMPLE_SHARE, Recommendation
from seedbank.selection.search.draw import draw
from seedbank.selection.search.explore import explore
from seedbank.selection.search.optimise import optimise
from seedbank.selection.search.seed_search import SeedSearch
from seedbank.settings import share_cores
from seedbank.trials.code import code_version

RESULTS = Path(__file__).parent / "results"
WORLD_SEED, ZOO_SEED = 57_721, 56_649
"""Renders of no training, test or example set."""
SIDE, PHOTOS, STARTS, FURTHER = 256, 8, 8, 128
OFTEN_DRAWN = ("gear", "screw", "bracket", "spring", "bearing", "tee", "hook")
RAREST = ("starknob", "wingnut", "impeller")
UNSEEN, INVENTED = (2020, 2021, 2022, 2023), "sprocketwheel"
MISNAMED = (("wingnut", "bracket"), ("clover", "gear"), ("hook", "washer"))


@dataclass(frozen=True)
class Case:
    """Photos of something, and what the model is asked for."""

    name: str
    prompt: str
    photos: tuple[Image.Image, ...]


@dataclass(frozen=True)
class BenchmarkRow:
    """What was said of one case, and what happened."""

    case: str
    said: Recommendation
    pool: int
    pool_accepted: int
    encoder_gap: float
    guard_gap: float
    name_effect: float | None
    """None where it was not asked."""
    drawn: int
    drawn_accepted: int
    """Of further plain seeds."""
    optimised: int
    optimised_accepted: int

    @property
    def truth(self) -> Recommendation:
        """The outcome."""
        if self.drawn_accepted >= SAMPLE_SHARE * self.drawn:
            return "sample"
        return "optimise" if self.optimised_accepted else "unreachable"


def cases() -> list[Case]:
    """All twenty."""
    found = [Case(kind, prompt(kind), _photos(kind, 0)) for kind in OFTEN_DRAWN]
    found += [Case(f"{kind}, set {k + 1}", prompt(kind), _photos(kind, k)) for kind in RAREST for k in (0, 1)]
    found += [Case(f"zoo part {k}", prompt(INVENTED), _zoo(k)) for k in UNSEEN]
    found += [Case(f"{kind} called {other}", prompt(other), _photos(kind, 2)) for kind, other in MISNAMED]
    return found


def ask(case: Case) -> BenchmarkRow:
    """Explore and diagnose as the preset ``balanced`` does; then draw more seeds, and optimise all the same."""
    problem = shipped_problem("gear")
    sampler = replace(problem, prompt=case.prompt).sampler
    search = SeedSearch(
        sampler=sampler,
        references=case.photos,
        encoder=problem.encoder,
        guard_encoder=problem.embed,
        recipe=BALANCED.sized(STARTS),
        root=case.name,
    )
    found = explore(search)
    said = found.diagnosis
    with torch.no_grad():
        noise = draws(f"{case.name}/further", range(FURTHER), sampler.noise_shape)
        drawn = search.objective.score(sampler.denoise(noise))
        further = found.acceptance.acceptable(found.acceptance.guard.embed(drawn.images), drawn.embeddings)
    finds = draw(search, found, optimise(search, found, starts=STARTS), plain=0).finds
    return BenchmarkRow(
        case.name, said.recommendation, said.seeds, said.accepted, said.encoder_gap, said.guard_gap,
        said.name_effect, FURTHER, int(further.sum()), len(finds), sum(find.image.accepted for find in finds),
    )  # fmt: skip


def write(rows: Sequence[BenchmarkRow], folder: Path) -> None:
    """Table and numbers."""
    about = {"machine": machine(), "code": code_version(), "limit": GAP_LIMIT}
    document = {"about": about, "rows": [asdict(row) | {"truth": row.truth} for row in rows]}
    (folder / "diagnosis.json").write_text(json.dumps(document, indent=2) + "\n")
    right = sum(row.said == row.truth for row in rows)
    head = f"Right in {right} of {len(rows)} cases; {about['machine']}, {about['code']}.\n"
    columns = (
        "| case | said | acceptable of the pool | gap by the encoder | gap by the guard | name effect "
        "| of further seeds | of optimised | so it was |"
    )
    lines = [head, columns, "|" + "---|" * 9]
    for row in rows:
        truth = row.truth if row.said == row.truth else f"**{row.truth}**"
        effect = "" if row.name_effect is None else f"{row.name_effect:.0%}"
        lines.append(
            f"| {row.case} | {row.said} | {row.pool_accepted} of {row.pool} | {row.encoder_gap:.0%} | {row.guard_gap:.0%} "
            f"| {effect} | {row.drawn_accepted} of {row.drawn} | {row.optimised_accepted} of {row.optimised} | {truth} |"
        )
    (folder / "diagnosis.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Ask all cases, or those whose name begins with a given one, and write only the whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("begins", nargs="?", default="", help="only cases whose name begins so; writes nothing")
    options = parser.parse_args()
    share_cores()
    rows = []
    for case in cases():
        if case.name.startswith(options.begins):
            rows.append(ask(case))
            print(f"said {rows[-1].said:12} was {rows[-1].truth:12} {rows[-1]}", flush=True)
    if not options.begins:
        write(rows, RESULTS)


def _photos(kind: str, number: int) -> tuple[Image.Image, ...]:
    first = number * PHOTOS
    return tuple(render(kind, generator(WORLD_SEED, kind, index), SIDE) for index in range(first, first + PHOTOS))


def _zoo(number: int) -> tuple[Image.Image, ...]:
    return tuple(zoo_render(number, index, ZOO_SEED, SIDE) for index in range(PHOTOS))


if __name__ == "__main__":
    main()
