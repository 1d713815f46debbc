"""What choosing reference photos is worth on the shipped model: the auditor's success and the diversity of the seeds that a set finds.

For each concept fresh renders of the world are made that nobody trained on: good photos, photos of what the concept is confused
with, and near duplicates. Sets of k photos are taken from it in four ways, and a search is guided by each:

- ``chosen``: by the product's own measures, rules and choice, from all photos, bad photos included;
- ``random``: k good photos at random;
- ``outliers``: like ``random``, but every third photo, and at least one, shows something else;
- ``duplicates``: like ``random``, but half of the set are near duplicates of the other half.

The auditor, which has no say in any of it, then judges the pictures. Diversity is the Vendi score of the guard's embeddings of those
that are right. Writes ``results/choosing.json``, ``.md`` and ``.png`` beside this file, after every concept.

    python benchmarks/choosing.py                       # about ten minutes on two cores
    python benchmarks/choosing.py hook crank --repeats 5 --starts 8 --device cuda
    python benchmarks/choosing.py --quick               # a minute, to see that it runs; writes results/choosing-quick.*
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seedbank.concepts import Concept, Policy, load_concept
from seedbank.evaluation.machine import machine
from seedbank.models import Auditor, Embedder, load_auditor, load_encoder, load_guard, load_pipeline
from seedbank.models.parts.examples import SIBLINGS
from seedbank.models.parts.world import generator, render
from seedbank.records import sha256
from seedbank.references.choosing.choice import choose_photos
from seedbank.references.judging.embedding import embed_images
from seedbank.references.judging.features import PhotoFeatures
from seedbank.references.judging.likeness import effective_number
from seedbank.references.judging.measured_photos import measure_photos
from seedbank.references.judging.suites import BETWEEN, photo_suite
from seedbank.references.records import Reference, Rights
from seedbank.selection import BALANCED, Recipe, select
from seedbank.settings import share_cores
from seedbank.trials.audit import Pixels, audit, label_of
from seedbank.trials.code import code_version

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
WORLD_SEED = 90_210
"""Renders of no training, test or example set."""
SIDE = 192
GOOD, BAD, COPIES = 24, 6, 6
WAYS = ("chosen", "random", "outliers", "duplicates")
COLOURS = {"chosen": "#2f6f4f", "random": "#6b7f8f", "outliers": "#a8372c", "duplicates": "#c58a1d"}
CONCEPTS = ("hook", "crank", "starknob")
"""Rare kinds that a search can reach; what is out of reach for every set says nothing about sets."""
RIGHTS = Rights.model_validate(
    {
        "licence": "none",
        "source": "the world",
        "cleared_by": "benchmark",
        "cleared_on": "2026-01-01",
        "purpose": ["bench"],
    }
)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    concepts: tuple[str, ...]
    sizes: tuple[int, ...] = (1, 3, 5, 8)
    repeats: int = 2
    starts: int = 4
    explore: int = 24
    iterations: int = 8
    device: str = "cpu"

    @property
    def recipe(self) -> Recipe:
        """The balanced preset, shortened: sets are compared with each other, not with the product's best."""
        explore = replace(BALANCED.explore, size=max(self.explore, self.starts))
        return replace(BALANCED, name="balanced-short", explore=explore, iterations=self.iterations)


@dataclass(frozen=True)
class Photos:
    """Photos of one concept: good ones, others that show a sibling, and near duplicates, the i-th of the i-th good one."""

    good: tuple[Image.Image, ...]
    others: tuple[Image.Image, ...]
    copies: tuple[Image.Image, ...]

    @property
    def whole(self) -> tuple[Image.Image, ...]:
        """Everything that a careless intake would hold."""
        return (*self.good, *self.others, *self.copies)


@dataclass(frozen=True)
class BenchmarkRow:
    """One search."""

    concept: str
    way: str
    k: int
    repeat: int
    right: int
    starts: int
    """Seeds that were searched; none is found where the guard of this set calls the concept out of reach."""
    reachability: str
    diversity: float
    """Vendi score of the right pictures; 0 when there are none."""
    wrong_references: int
    """Photos of the set that show something else or repeat another."""
    seconds: float


@dataclass(frozen=True)
class Models:
    """The shipped models, on the device that searches; ``judge`` and ``auditor`` stay on the processor."""

    pipeline: Any
    sampler: Any
    encoder: Embedder
    guard: Embedder
    judge: Embedder
    auditor: Auditor


def main() -> None:
    """Run the benchmark and write its results."""
    share_cores()
    plan, name = _plan()
    models = load_models(plan.device)
    rows: list[BenchmarkRow] = []
    begun = time.perf_counter()
    for concept_name in plan.concepts:
        concept = load_concept(ROOT / "concepts" / f"{concept_name}.yaml")
        for row in measure(models, concept, make_photos(concept_name), plan):
            rows.append(row)
            print(f"{row.concept:9} {row.way:10} k={row.k} {row.right}/{row.starts} in {row.seconds:.1f} s", flush=True)
        write(rows, plan, name, time.perf_counter() - begun)


def load_models(device: str) -> Models:
    """The shipped model and its judges."""
    loaded, encoder, guard = load_pipeline("parts"), load_encoder(), load_guard()
    return Models(
        pipeline=loaded.pipeline.to(device),
        sampler=loaded.sampler,
        encoder=encoder.to(device),
        guard=guard.to(device),
        judge=load_guard(),
        auditor=load_auditor(),
    )


def make_photos(kind: str) -> Photos:
    """Renders of ``kind`` and of its sibling, and crops of some of them."""
    good = tuple(render(kind, generator(WORLD_SEED, kind, index), SIDE) for index in range(GOOD))
    other = SIBLINGS[kind]
    others = tuple(render(other, generator(WORLD_SEED, other, index), SIDE) for index in range(BAD))
    copies = tuple(_crop(image, 2 + index) for index, image in enumerate(good[:COPIES]))
    return Photos(good, others, copies)


def measure(models: Models, concept: Concept, photos: Photos, plan: Plan) -> Iterator[BenchmarkRow]:
    """A row for each search; the same starts are searched whatever the set."""
    for k in plan.sizes:
        for way in WAYS:
            if way == "duplicates" and k == 1:
                continue
            for repeat in range(1 if way == "chosen" else plan.repeats):
                references, wrong = take(models, concept, photos, way, k, repeat)
                yield _search(
                    models,
                    concept,
                    plan,
                    references,
                    BenchmarkRow(concept.name, way, k, repeat, 0, 0, "", 0.0, wrong, 0.0),
                )


def take(
    models: Models, concept: Concept, photos: Photos, way: str, k: int, repeat: int
) -> tuple[Sequence[Image.Image], int]:
    """A set of ``k`` photos, and how many of them show something else or repeat another."""
    if way == "chosen":
        return _chosen(models, concept, photos, k)
    random = np.random.default_rng([WORLD_SEED, k, repeat])
    places = [int(place) for place in random.permutation(GOOD)[:k]]
    references = [photos.good[place] for place in places]
    if way == "outliers":
        wrong = math.ceil(k / 3)
        return [*references[wrong:], *(photos.others[int(place)] for place in random.permutation(BAD)[:wrong])], wrong
    if way == "duplicates":
        wrong = k // 2
        originals = references[: k - wrong]
        return [*originals, *(_crop(originals[index % len(originals)], 2 + index) for index in range(wrong))], wrong
    return references, 0


def write(rows: Sequence[BenchmarkRow], plan: Plan, name: str, seconds: float) -> None:
    """Keep the rows, a table of means and a plot of them."""
    measured_on = {"processor": machine(), "python": platform.python_version()}
    facts = {"machine": measured_on | {"code": code_version(), "seconds": round(seconds, 1)}, "plan": asdict(plan)}
    RESULTS.mkdir(exist_ok=True)
    means = [_mean(rows, way, k) for way in WAYS for k in plan.sizes]
    known = [mean for mean in means if mean]
    document = facts | {"rows": [asdict(row) for row in rows], "means": known}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    (RESULTS / f"{name}.md").write_text(_table(known, plan, facts["machine"]))
    _plot(known, plan, RESULTS / f"{name}.png")


def _chosen(models: Models, concept: Concept, photos: Photos, k: int) -> tuple[Sequence[Image.Image], int]:
    """As validation does it, with the rules of the suite applied directly."""
    policy, images = Policy(), photos.whole
    vectors = embed_images(models.judge, images)
    features = [PhotoFeatures.of(image, vector) for image, vector in zip(images, vectors, strict=True)]
    references = [_reference(concept.name, place) for place in range(len(images))]
    measured = measure_photos(references, features, [[]] * len(images), policy)
    rules = [rule for rule in photo_suite(policy).rules if rule.type == BETWEEN and rule.severity == "critical"]
    out = {row["photo"] for row in measured.rows if any(rule.shortfall(row[rule.column]) > 0 for rule in rules)}
    names = [measured.rows[item.index]["name"] for item in choose_photos(measured, out, k)]
    places = [int(name) for name in names]
    others = sum(GOOD <= place < GOOD + BAD for place in places)
    copies = sum(place >= GOOD + BAD and place - GOOD - BAD in places for place in places)
    return [images[place] for place in places], others + copies


def _search(
    models: Models, concept: Concept, plan: Plan, references: Sequence[Image.Image], row: BenchmarkRow
) -> BenchmarkRow:
    begun = time.perf_counter()
    found = select(
        models.pipeline,
        concept.prompt,
        references,
        encoder=models.encoder,
        guard_encoder=models.guard,
        recipe=plan.recipe,
        starts=plan.starts,
        plain=1,
        root=concept.seed,
        config=models.sampler,
    )
    label = label_of(models.auditor, concept.name)
    if label is None:
        raise SystemExit(f"the auditor does not know {concept.name}")
    pictures: list[Pixels] = [find.image.pixels for find in found.finds]
    right = audit(models.auditor, pictures, label)
    kept = [Image.fromarray(picture) for picture, good in zip(pictures, right, strict=True) if good]
    vectors = embed_images(models.judge, kept)
    return replace(
        row,
        right=int(right.sum()),
        starts=plan.starts,
        reachability=str(found.reachability),
        diversity=effective_number(vectors @ vectors.T) if kept else 0.0,
        seconds=time.perf_counter() - begun,
    )


def _mean(rows: Sequence[BenchmarkRow], way: str, k: int) -> dict[str, Any]:
    """Over all concepts and repeats, with a Wilson interval of the success; empty where nothing was measured."""
    these = [row for row in rows if row.way == way and row.k == k]
    if not these:
        return {}
    right, starts = sum(row.right for row in these), sum(row.starts for row in these)
    low, high = wilson(right, starts)
    return {
        "way": way,
        "k": k,
        "searches": len(these),
        "right": right,
        "starts": starts,
        "success": right / starts,
        "low": low,
        "high": high,
        "diversity": float(np.mean([row.diversity for row in these])),
        "out_of_reach": sum(row.reachability == "unreachable" for row in these),
        "wrong_references": sum(row.wrong_references for row in these),
    }


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % score interval of a rate (Wilson 1927)."""
    rate, spread = right / count, z * z / count
    centre = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _table(means: Sequence[dict[str, Any]], plan: Plan, machine: dict[str, Any]) -> str:
    effort = f"{plan.starts} starts, {plan.explore} seeds explored, {plan.iterations} iterations"
    lines = [
        f"Sets of k reference photos for {', '.join(plan.concepts)}; {effort};",
        f"{machine['processor']}, {plan.device}, {machine['code']}, {machine['seconds']:.0f} s in all.",
        "",
        "| set | k | auditor's success (95 %) | different right pictures (Vendi) | wrong photos in the sets | out of reach |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {mean['way']} | {mean['k']} | {mean['success']:.0%} of {mean['starts']} ({mean['low']:.0%} to {mean['high']:.0%}) | "
        f"{mean['diversity']:.2f} | {mean['wrong_references']} | {mean['out_of_reach']} of {mean['searches']} |"
        for mean in means
    ]
    return "\n".join(lines) + "\n"


def _plot(means: Sequence[dict[str, Any]], plan: Plan, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for number, way in enumerate(WAYS):
        these = [mean for mean in means if mean["way"] == way]
        # A little apart, so that intervals do not lie on each other.
        k = np.array([mean["k"] for mean in these]) + 0.09 * (number - 1.5)
        success = np.array([mean["success"] for mean in these])
        bars = np.abs(np.array([[mean["low"] for mean in these], [mean["high"] for mean in these]]) - success)
        style = {"color": COLOURS[way], "marker": "o", "linewidth": 2 if way == "chosen" else 1.3}
        left.errorbar(k, success, yerr=bars, capsize=3, label=way, **style)
        right.plot(k, [mean["diversity"] for mean in these], label=way, **style)
    for axes, words in ((left, "share of right pictures (auditor, 95 %)"), (right, "different right pictures (Vendi)")):
        axes.set(xlabel="photos in the set", ylabel=words, xticks=plan.sizes, ylim=(0, None))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylim(0, 1)
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(WAYS), frameon=False)
    figure.suptitle(f"What choosing reference photos is worth ({', '.join(plan.concepts)})")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _crop(image: Image.Image, edge: int) -> Image.Image:
    """A near duplicate: the same picture, a little tighter."""
    return image.crop((edge, edge, image.width - edge, image.height - edge)).resize(
        image.size, Image.Resampling.LANCZOS
    )


def _reference(concept: str, place: int) -> Reference:
    photo, size = sha256(f"{place}".encode()), {"width": SIDE, "height": SIDE}
    return Reference(photo=photo, working=photo, concept=concept, name=str(place), format="PNG", rights=RIGHTS, **size)


def _plan() -> tuple[Plan, str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("concepts", nargs="*", default=CONCEPTS, help="names of shipped concepts")
    parser.add_argument("--repeats", type=int, default=2, help="random sets of each kind and size")
    parser.add_argument("--starts", type=int, default=4, help="seeds to search for in each set")
    parser.add_argument("--explore", type=int, default=24, help="plain seeds to explore in each search")
    parser.add_argument("--iterations", type=int, default=8, help="gradient steps at most")
    parser.add_argument("--device", default="cpu", help="where the model and its judges run, such as cuda")
    parser.add_argument("--quick", action="store_true", help="one concept, two sizes, a few steps")
    options = parser.parse_args()
    if options.quick:
        quick = Plan(tuple(options.concepts[:1]), (1, 3), 1, starts=2, explore=4, iterations=2, device=options.device)
        return quick, "choosing-quick"
    names = ("repeats", "starts", "explore", "iterations", "device")
    return Plan(tuple(options.concepts), **{name: getattr(options, name) for name in names}), "choosing"


if __name__ == "__main__":
    main()
