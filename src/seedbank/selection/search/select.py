"""The method, end to end: explore plain seeds, optimise the best of them, keep what the guard accepts.

::

    select(pipeline, "a photo of a wingnut", photos, encoder=encoder, guard=guard)

A library function: no storage, no tracking, no scheduler of jobs. The same arguments give the same result, bit by bit, on one machine,
whether or not it was interrupted and resumed on the way; only ``Selection.seconds`` differs.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from seedbank.selection.judging.acceptance import Acceptance, make_acceptance
from seedbank.selection.judging.guard import Embed
from seedbank.selection.judging.targets import Encoder, Targets, failure_centroids, stack_images
from seedbank.selection.records import Cost, SamplerConfig, Scores
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.calibrate import calibrated, calibration_key
from seedbank.selection.sampling.inversion import inversion_cost, inverted_seeds
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.noise import PoolSeeds, to_numpy
from seedbank.selection.sampling.sampler import Sampler, from_pixels, make_sampler, to_pixels
from seedbank.selection.search.checkpoint import Progress
from seedbank.selection.search.clock import Clock
from seedbank.selection.search.diagnose import Diagnosis, diagnose
from seedbank.selection.search.explore import Explored, choose_starts, exploration_cost, explore, previewer
from seedbank.selection.search.name_effect import UNNAMED, name_effect
from seedbank.selection.search.objective import Away, LowFrequency, Objective, PaperAppearance, PaperSemantic, Semantic
from seedbank.selection.search.optimise import Climb, Ways, begin
from seedbank.selection.search.recipes import BALANCED, Recipe, Tangent
from seedbank.selection.search.results import Event, Find, Observer, Picture, Selection
from seedbank.selection.search.rules import Limits, kept_reading, leaders
from seedbank.selection.seeds import Lineage, Seed


def select(
    pipeline: Any,
    prompt: str,
    references: Sequence[Image.Image],
    *,
    encoder: Encoder,
    guard: Embed,
    recipe: Recipe = BALANCED,
    starts: int = 8,
    plain: int = 8,
    seed: str = "0",
    sampler: SamplerConfig | None = None,
    archive: Sequence[Seed] = (),
    calibrations: MutableMapping[str, str] | None = None,
    observe: Observer = lambda _event: None,
    resume: Progress | None = None,
) -> Selection:
    """Find seeds that make ``pipeline`` draw what ``references`` show.

    Args:
        pipeline: a diffusers pipeline of a supported family; it is not changed.
        prompt: what to draw.
        references: photos of it, of any size and aspect.
        encoder: the embedding whose gradient is followed.
        guard: another embedding, never differentiated, that accepts or rejects.
        recipe: how to search.
        starts: how many seeds to optimise.
        plain: how many plain seeds to draw for comparison.
        seed: the integer, as a decimal string, that all draws derive from.
        sampler: how to sample; default as the family usually is.
        archive: seeds found before, which compete with the plain ones on the same score.
        calibrations: where a recipe whose gradient is ``calibrated`` keeps what it found out about this pipeline.
        observe: told how far it is.
        resume: the progress of an interrupted call with the same arguments.

    Raises:
        UsageError: no references, or a pipeline that is not supported.
    """
    clock = Clock(observe)
    search = Search(
        sampler=make_sampler(pipeline, prompt, sampler),
        references=references,
        encoder=encoder,
        embed=guard,
        recipe=recipe,
        seed=seed,
        archive=tuple(archive),
        calibrations={} if calibrations is None else calibrations,
        observe=clock,
    )
    found = search.explore(resume)
    walked = None if found.diagnosis.recommendation == "unreachable" else search.optimise(found, starts, resume)
    return replace(search.result(found, walked, plain=plain), seconds=clock.seconds)


@dataclass(frozen=True)
class Found:
    """What exploration gives: the pool, and the acceptance and the objective that know what plain seeds draw instead."""

    pool: Explored
    acceptance: Acceptance
    objective: Objective
    cost: int
    """Network evaluations."""
    name_effect: float | None = None
    """See :func:`seedbank.selection.search.name_effect.name_effect`; asked only where the pool alone says *unreachable*."""

    @property
    def judged(self) -> Explored:
        """The pool as this guard judges it."""
        guard = self.acceptance.guard
        return replace(self.pool, guard=guard.judge(self.pool.looks.to(guard.prototypes.device)).cpu())

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What the pool promises."""
        found = diagnose(self.acceptance, guard_embeddings=self.pool.looks, embeddings=self.pool.embeddings)
        return found if self.name_effect is None else found.with_name_effect(self.name_effect)


@dataclass(frozen=True)
class Walked:
    """What optimisation gives: the starts by number, their ways to the end, and network evaluations so far."""

    starts: tuple[int, ...]
    ways: Ways
    cost: int


@dataclass(frozen=True)
class Search:
    """The parts of one selection, and its three stages."""

    sampler: Sampler
    references: Sequence[Image.Image]
    encoder: Encoder
    embed: Embed
    recipe: Recipe
    seed: str = "0"
    archive: tuple[Seed, ...] = ()
    calibrations: MutableMapping[str, str] = field(default_factory=dict)
    observe: Observer = lambda _event: None

    @cached_property
    def photos(self) -> Tensor:
        """The references as ``[K, 3, H, W]`` in 0..1."""
        config = self.sampler.config
        return stack_images(self.references, config.height, config.width).to(self.sampler.family.device)

    @cached_property
    def acceptance(self) -> Acceptance:
        """The rule that images are accepted by, before anything is known of what plain seeds draw."""
        return make_acceptance(
            self.photos, self.sampler.family, encoder=self.encoder, guard=self.embed, criteria=self.recipe
        )

    @property
    def targets(self) -> Targets:
        """The references in the spaces of the objective."""
        return self.acceptance.targets

    @cached_property
    def candidates(self) -> PoolSeeds:
        """What is explored: plain seeds, the archive, and inverted references where the recipe wants them."""
        plan = self.recipe.explore
        inverted = inverted_seeds(self.sampler, self.targets.latents, self.seed, plan.inverted)
        return PoolSeeds(self.seed, self.sampler.noise_shape, plan.size, plan.paired, (*self.archive, *inverted))

    @cached_property
    def objective(self) -> Objective:
        """The objective the recipe names, before anything is known of what plain seeds draw."""
        decode, targets, weight = self.sampler.family.decode, self.targets, self.recipe.appearance
        if self.recipe.objective == "paper":
            terms = (PaperSemantic(targets), PaperAppearance(targets, weight))
            return Objective(terms, decode, self.encoder, trail=self.recipe.trail, balanced=False)
        return Objective((Semantic(targets), LowFrequency(targets, weight)), decode, self.encoder)

    def explore(self, resume: Progress | None = None) -> Found:
        """The pool of candidates, and what follows from it. *unreachable* is not believed before the name has been asked about."""
        plan = self.recipe.explore

        def tell(pool: Explored, _images: Tensor) -> None:
            progress = Progress(pool, None, self._explored(pool))
            self.observe(Event("explore", len(pool.previews) + len(pool), self._to_explore, progress))

        known = resume.pool if resume else None
        guard = self.acceptance.guard
        pool = explore(self.sampler, self.objective, guard, self.candidates, plan=plan, known=known, observe=tell)
        found = Found(pool, self.acceptance.against(pool.looks), self._informed(pool), self._explored(pool))
        return self._ask_about_name(found) if found.diagnosis.recommendation == "unreachable" else found

    def _ask_about_name(self, found: Found) -> Found:
        pool = found.pool
        effect = name_effect(self.sampler, found.acceptance, guard_embeddings=pool.looks, embeddings=pool.embeddings)
        return replace(found, name_effect=effect, cost=found.cost + self.sampler.cost(UNNAMED))

    @property
    def _to_explore(self) -> int:
        """Previews and whole drawings, all together."""
        plan, total = self.recipe.explore, len(self.candidates)
        few = previewer(self.sampler, plan)
        return total + max(1, round(plan.keep * total)) if few else total

    def _explored(self, pool: Explored) -> int:
        """Network evaluations of an exploration, inverted references included."""
        inverted = inversion_cost(self.sampler, len(self.targets.latents)) if self.recipe.explore.inverted else 0
        return inverted + exploration_cost(self.sampler, self.recipe.explore, pool)

    def _informed(self, pool: Explored) -> Objective:
        """The objective with a pull away from what plain seeds give instead, where they give something else."""
        if self.recipe.objective == "paper" or not self.recipe.contrast:
            return self.objective
        failures = failure_centroids(pool.embeddings.to(self.targets.centroid.device), self.targets)
        if not len(failures):
            return self.objective
        return replace(
            self.objective, terms=(*self.objective.terms, Away(self.targets, failures, self.recipe.contrast))
        )

    def mode(self, found: Found, starts: Sequence[int]) -> tuple[Mode, int]:
        """How gradients are had, and what finding that out cost."""
        if self.recipe.gradient != "calibrated":
            return Mode.parse(self.recipe.gradient), 0
        key = calibration_key(self.sampler, model="", prompts=self.recipe.objective)
        known = key in self.calibrations
        noise = self.candidates.noise(starts[:2])
        chosen = calibrated(
            self.calibrations, key, self.sampler, noise, found.objective.evaluate, trail=self.recipe.trail
        )
        return Mode.parse(chosen.chosen), 0 if known else chosen.network_evaluations

    def optimise(self, found: Found, starts: int, resume: Progress | None = None) -> Walked:
        """The ways of the ``starts`` most promising starts to their ends; the recipe's spare ones fell out on the way."""
        earlier, begun = resume.ways if resume else None, self.recipe.begun(starts)
        chosen = earlier.starts if earlier else tuple(choose_starts(found.pool, begun, self.recipe.explore))
        origin = self.candidates.noise(chosen).to(self.sampler.family.device)
        seeds = [self.candidates.seed(index) for index in chosen]
        mode, asked = self.mode(found, chosen)
        spent = resume.network_evaluations if resume and earlier else found.cost + asked

        def tell(ways: Ways, active: list[int], images: Tensor, evaluations: int) -> None:
            nonlocal spent
            spent += evaluations
            done, total = ways.iteration - 1, self.recipe.iterations
            shown = dict(zip((seeds[position] for position in active), to_pixels(images), strict=True))
            self.observe(Event("optimise", done, total, Progress(found.pool, ways, spent), shown, done))

        limits = self._limits(found)
        climb = Climb(
            self.sampler, found.objective, found.acceptance.guard, self.recipe, limits, origin, mode, self.seed, starts
        )
        ways = climb.run(earlier or begin(chosen, origin, self.recipe), tell)
        ways = ways.take(leaders(ways.traces, self.recipe, limits, starts))
        return Walked(ways.starts, ways, spent)

    def result(self, found: Found, walked: Walked | None, *, plain: int) -> Selection:
        """Draw the pictures that are kept, each alone, and judge them."""
        plain = min(plain, self.recipe.explore.size)
        total = plain + (len(walked.starts) if walked else 0)
        pictures = []
        for index in range(plain):
            pictures.append(self.plain_picture(found, index))
            self.observe(Event("draw", index + 1, total))
        finds = []
        for position in range(len(walked.starts) if walked else 0):
            finds.append(self._find(found, walked, position))  # type: ignore[arg-type]
            self.observe(Event("draw", plain + position + 1, total))
        spent = (walked.cost if walked else found.cost) + self.sampler.cost(total)
        return Selection(
            recipe=self.recipe,
            sampler=self.sampler.config,
            pool=found.judged.statistics(),
            explored=found.judged,
            threshold=found.acceptance.needed,
            reachability=found.diagnosis.reachability,
            diagnosis=found.diagnosis,
            plain=tuple(pictures),
            finds=tuple(finds),
            cost=Cost(network_evaluations=spent, iterations=walked.ways.iteration - 1 if walked else 0),
        )

    def plain_picture(self, found: Found, index: int) -> Picture:
        """The picture of plain seed ``index``, judged."""
        seed = self.candidates.seed(index)
        return self._judge(found, seed, seed, start_guard=None, ended="a plain seed")

    def _find(self, found: Found, walked: Walked, position: int) -> Find:
        start = self.candidates.seed(walked.starts[position])
        trace, ended = walked.ways.traces[position], walked.ways.stopped_by[position]
        kept = kept_reading(trace, self.recipe, found.acceptance.needed).iteration
        seed = self._kept_seed(found, walked, position)
        picture = self._judge(found, seed, start, start_guard=trace[0].guard, ended=f"{ended}; kept iterate {kept}")
        return Find(start, picture, kept, trace, ended)

    def kept_seeds(self, found: Found, walked: Walked) -> list[Seed]:
        """The seed that each start led to."""
        return [self._kept_seed(found, walked, position) for position in range(len(walked.starts))]

    def _kept_seed(self, found: Found, walked: Walked, position: int) -> Seed:
        start = self.candidates.seed(walked.starts[position])
        kept = kept_reading(walked.ways.traces[position], self.recipe, found.acceptance.needed).iteration
        return start if kept == 0 else self._optimised(start, walked.ways.best[position], kept)

    def _optimised(self, start: Seed, noise: Tensor, iteration: int) -> Seed:
        lineage = Lineage(
            kind="optimised", parents=(start.digest,), recipe=self.recipe.digest, note=f"iterate {iteration}"
        )
        return Seed(to_numpy(noise), lineage)

    def _judge(self, found: Found, seed: Seed, start: Seed, *, start_guard: float | None, ended: str) -> Picture:
        """Draw ``seed`` alone, score exactly the bytes that are kept, and say whether they are accepted."""
        noise = torch.from_numpy(seed.latents.copy())
        drawn = found.objective.score(self.sampler.finish(noise[None]))
        pixels = to_pixels(drawn.images)[0]
        image = from_pixels(pixels[None]).to(self.photos)
        (judged,) = found.acceptance.judge(image, starts=None if start_guard is None else [start_guard])
        scores = Scores(
            objective=float(drawn.objective),
            semantic=float(drawn.terms["semantic"]),
            appearance=float(drawn.terms["appearance"]),
            guard=judged.guard,
            cosine_to_start=float(sphere.cosine(noise[None], torch.from_numpy(start.latents.copy())[None])),
            norm_z=float(sphere.norm_score(noise[None])),
            whiteness=float(sphere.whiteness(noise[None])),
        )
        return Picture(seed, pixels, scores, judged.accepted, f"{judged.explanation} ({ended})")

    def _limits(self, found: Found) -> Limits:
        update = self.recipe.update
        return Limits(
            threshold=found.acceptance.needed,
            guard_deviation=found.judged.statistics().guard_std,
            semantic_goal=self.targets.semantic_goal,
            semantic_limit=found.acceptance.semantic_limit,
            cosine_floor=update.cosine_floor if isinstance(update, Tangent) else -1.0,
        )
