"""What a model profile is on this machine: whether all of it loads, draws as the stock pipeline does, and what a trial will take.

No photos are needed: images that the model draws itself stand in for references, which is enough to measure a gradient, its cost and
whether it points downhill, and says nothing of how hard a concept is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seedbank.concepts import Policy
from seedbank.models.device import describe_device
from seedbank.models.loading import Models, load_models
from seedbank.models.peak import PeakMemory
from seedbank.models.profiles import ModelProfile
from seedbank.models.software import drawing_software
from seedbank.models.stock import can_draw_whole, stock_image
from seedbank.selection.records import Calibration
from seedbank.selection.sampling.calibrate import MODES, calibrate
from seedbank.selection.sampling.gradients import value_and_grad
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.noise import draws
from seedbank.selection.sampling.placement import placement_of
from seedbank.selection.sampling.sampler import SMALL_BATCH, Sampler, make_sampler
from seedbank.selection.search.cutouts import random_cutouts
from seedbank.selection.search.optimiser import SMALLEST_CUTOUT
from seedbank.selection.search.recipes import BALANCED, CALIBRATED, PRESETS, preset
from seedbank.selection.search.seed_search import SeedSearch
from seedbank.trials.checks.records import Check, Comparison, Judge, Measured, PresetCost, Tokens
from seedbank.trials.estimate import drawing, estimate, gradient, sampling
from seedbank.trials.speeds import about, keep_speeds
from seedbank.trials.workload import Search, Speeds

ROOT = "check"
STAND_INS, STARTS = 4, 2
"""Images of the model's own that stand in for references, and seeds that gradient modes are compared on."""
REFERENCES = 8
"""Photos that a trial is taken to have, where each is inverted."""

Report = Callable[[str, int, int], None]


def check_profile(
    profile: ModelProfile,
    *,
    device: torch.device,
    home: Path,
    prompt: str,
    quick: bool = False,
    progress: Report = lambda _stage, _done, _total: None,
) -> Check:
    """Load ``profile`` on ``device``, compare it with the stock pipeline, and measure it; speeds are kept in ``home``.

    Args:
        profile: what to check.
        device: where.
        home: folder of the speeds.
        prompt: what to draw.
        quick: do not measure which gradient mode suits; the profile's or the presets' own is measured.
        progress: told the stage, units done, and units in all.

    Raises:
        UsageError: a part is missing or cannot be used, or the guard is no judge of this pipeline.
        OutsideError: the hub could not be reached, or not even one image fits.
    """
    progress("load", 0, 1)
    models = load_models(profile, device=device)
    sampler = make_sampler(models.model.pipeline, prompt, models.model.sampler)
    progress("load", 1, 1)
    comparison = _compare(models.model.pipeline, sampler, prompt, progress)
    stand_ins, drawing_seconds = _stand_ins(sampler, progress)
    bench = _Bench(sampler, _seed_search(models, sampler, stand_ins), progress)
    calibration = None if quick else bench.calibrate()
    mode = calibration.chosen if calibration else _usual_mode(profile)
    sample, found = bench.measure(mode)
    asked = _asked(profile, sampler, BALANCED.name)
    measured = (
        (drawing(asked), drawing_seconds),
        (sampling(asked), sample.seconds),
        (gradient(mode, asked), found.seconds),
    )
    speeds = Speeds()
    for work, seconds in measured:
        speeds = speeds.with_measured(work, seconds)
    keep_speeds(home, about(models, drawing_software(device)), speeds)
    return Check(
        profile=profile.name,
        device=describe_device(device),
        family=type(models.model.pipeline).__name__,
        sampler=sampler.config,
        notes=models.notes,
        judges=tuple(_judges(models)),
        prompt=prompt,
        tokens=tuple(_tokens(models.model.pipeline, prompt)),
        cut=sampler.condition.cut,
        comparison=comparison,
        memory=str(plan) if (plan := placement_of(models.model.pipeline).plan) else "",
        sample=sample,
        gradient=found,
        mode=mode,
        calibration=calibration,
        advice=_advice(profile, calibration),
        candidates=asked.starts,
        presets=tuple(
            _cost(_asked(profile, sampler, name), speeds, _Memory(sampler, sample, found)) for name in PRESETS
        ),
    )


def _compare(pipeline: Any, sampler: Sampler, prompt: str, progress: Report) -> Comparison | None:
    if not can_draw_whole(pipeline):
        return None
    progress("compare", 0, 2)
    noise = draws(ROOT, range(1), sampler.noise_shape)
    ours = sampler.draw(noise)
    progress("compare", 1, 2)
    stock = stock_image(pipeline, sampler, prompt, noise)
    progress("compare", 2, 2)
    apart = np.abs(ours[0].astype(int) - stock.astype(int))
    return Comparison(int(apart.max()), float(apart.mean()), sampler.config.dtype)


def _stand_ins(sampler: Sampler, progress: Report) -> tuple[list[Image.Image], float]:
    """Images of the model's own, and the seconds of one: drawn as what is kept is drawn, in whole batches."""
    count = max(STAND_INS, sampler.config.batch_size)
    progress("draw", 0, count)
    begun = time.perf_counter()
    pixels = sampler.draw(draws(ROOT, range(1, 1 + count), sampler.noise_shape))
    seconds = (time.perf_counter() - begun) / count
    progress("draw", count, count)
    return [Image.fromarray(image) for image in pixels[:STAND_INS]], seconds


def _seed_search(models: Models, sampler: Sampler, references: list[Image.Image]) -> SeedSearch:
    return SeedSearch(
        sampler=sampler,
        references=references,
        encoder=models.encoder,
        guard_encoder=models.guard,
        recipe=models.profile.adapt(BALANCED),
        root=ROOT,
    )


@dataclass(frozen=True)
class _Bench:
    """Measures what the inside of a search takes."""

    sampler: Sampler
    search: SeedSearch
    progress: Report

    def calibrate(self) -> Calibration:
        """Which gradient suits this model; the presets' own is among those that are tried."""
        self.progress("calibrate", 0, 1)
        objective, noise = self.search.objective, self._noise(STARTS)
        modes = tuple(dict.fromkeys([BALANCED.gradient, *MODES]))
        found = calibrate(self.sampler, noise, objective.evaluate, modes, last_steps=objective.last_steps)
        self.progress("calibrate", 1, 1)
        return found

    def measure(self, mode: str) -> tuple[Measured, Measured]:
        """A sample and a gradient, as many at once as is usual here."""
        parsed = Mode.parse(mode)
        self.progress("measure", 0, 2)
        sample = self._timed(self._sample, self._noise(self._at_once("sampling")))
        self.progress("measure", 1, 2)
        found = self._timed(partial(self._gradient, mode=parsed), self._noise(self._at_once(f"gradient {parsed.kind}")))
        self.progress("measure", 2, 2)
        return sample, found

    def _sample(self, noise: Tensor) -> None:
        drawn = self.search.objective.score(self.sampler.denoise(noise))
        self.search.acceptance.guard.similarity(drawn.images)

    def _gradient(self, noise: Tensor, mode: Mode) -> None:
        recipe, objective = self.search.recipe, self.search.objective
        cutouts = random_cutouts(ROOT, "views", recipe.cutouts, smallest=SMALLEST_CUTOUT)
        evaluate = partial(objective.evaluate, cutouts=cutouts)
        value_and_grad(self.sampler, noise, evaluate, mode, last_steps=objective.last_steps)

    def _timed(self, work: Callable[[Tensor], None], noise: Tensor) -> Measured:
        # Once for nothing: kernels are chosen and references are embedded at the first call.
        work(noise[:1])
        with PeakMemory(noise.device) as memory:
            begun = time.perf_counter()
            work(noise)
            _wait(noise.device)
            seconds = time.perf_counter() - begun
        before = memory.before if memory.mib is not None else None
        # On a card the most that is allocated counts what was there before.
        added = memory.mib and memory.mib - (memory.before if noise.device.type == "cuda" else 0.0)
        return Measured(seconds / len(noise), len(noise), before, added)

    def _noise(self, count: int) -> Tensor:
        first = 100  # of no image that stands in for a reference
        return draws(ROOT, range(first, first + count), self.sampler.noise_shape).to(self.sampler.family.device)

    def _at_once(self, kind: str) -> int:
        """Images at once: as many as memory was planned for on a card, but for few large ones elsewhere."""
        planned = self.sampler.batch_sizes.largest.get(kind)
        return min(planned, SMALL_BATCH) if planned else self.sampler.config.batch_size


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _usual_mode(profile: ModelProfile) -> str:
    mode = profile.adapt(BALANCED).gradient
    return BALANCED.gradient if mode == CALIBRATED else mode


def _advice(profile: ModelProfile, calibration: Calibration | None) -> str:
    """What to write into the profile where the gradient mode of its searches does not suit; empty where it does."""
    own = profile.adapt(BALANCED).gradient
    if calibration is None or own == CALIBRATED:
        return ""
    suits = {check.mode: check.agrees for check in calibration.checks}
    if suits.get(own, own == "full"):
        return f"the gradient mode of its searches, {own}, suits"
    return (
        f"the gradient mode of its searches, {own}, does not suit this model; write into the profile `limits: "
        f"{{gradient: {calibration.chosen}}}`, or `calibrated` to have every search measure for itself"
    )


def _judges(models: Models) -> Iterator[Judge]:
    for part, judge in (("encoder", models.encoder), ("guard", models.guard)):
        for network in judge.networks:
            yield Judge(part, network.card.label, network.module.config.model_type)


def _tokens(pipeline: Any, prompt: str) -> Iterator[Tokens]:
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        tokenizer = getattr(pipeline, name, None)
        if tokenizer is not None:
            count = len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
            yield Tokens(name, count, int(tokenizer.model_max_length))


def _asked(profile: ModelProfile, sampler: Sampler, name: str) -> Search:
    """The search of a trial of the preset called ``name``."""
    policy = Policy.model_validate(profile.policy).selection
    recipe = profile.adapt(preset(name, starts=max(policy.candidates, policy.plain)))
    return Search(
        recipe=recipe,
        starts=policy.candidates,
        plain=policy.plain,
        steps=len(sampler.steps),
        branches=len(sampler.condition),
        references=REFERENCES,
        small=sampler.config.batch_size > 1,
    )


@dataclass(frozen=True)
class _Memory:
    """What a search holds at its peak, from what one batch was seen to hold."""

    sampler: Sampler
    sample: Measured
    gradient: Measured

    def most(self, search: Search) -> float | None:
        """Of ``search``, in MiB, whose starts take their gradients together where memory was not planned otherwise."""
        planned = self.sampler.batch_sizes.largest
        pool = min(search.recipe.explore.batch, planned.get("sampling", search.recipe.explore.batch))
        starts = min(search.begun, planned.get("gradient one_vjp", search.begun))
        found = [self.sample.mib(pool), self.gradient.mib(starts)]
        return max((each for each in found if each is not None), default=None)


def _cost(search: Search, speeds: Speeds, memory: _Memory) -> PresetCost:
    found = estimate(search)
    return PresetCost(
        preset=search.recipe.name,
        images=round(found.images),
        gradients=round(found.gradients),
        network_evaluations=round(found.network_evaluations),
        most_network_evaluations=found.most_network_evaluations,
        seconds=found.seconds(speeds) or 0.0,
        most_seconds=found.most_seconds(speeds) or 0.0,
        mib=memory.most(search),
    )
