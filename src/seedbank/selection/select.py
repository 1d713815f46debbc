"""The method, end to end: explore plain seeds, optimise the best of them, keep what the guard accepts.

::

    select(pipeline, "a photo of a wingnut", photos, encoder=encoder, guard=guard)

A library function: no storage, no tracking, no scheduler of jobs. The same arguments give the same result, bit by bit, on one machine,
whether or not it was interrupted and resumed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from seedbank.seeds import Lineage, Seed
from seedbank.selection import sphere
from seedbank.selection.draws import draws, plain_seed, to_numpy
from seedbank.selection.explore import Explored, choose_starts, explore
from seedbank.selection.guard import Embed, Guard, make_guard
from seedbank.selection.objective import LowFrequency, Objective, PaperAppearance, PaperSemantic, Semantic
from seedbank.selection.optimise import Climb, Ways, begin, kept_reading
from seedbank.selection.progress import Progress
from seedbank.selection.reach import Reach, reach
from seedbank.selection.recipes import BALANCED, Recipe, Tangent
from seedbank.selection.rules import Limits, Reading
from seedbank.selection.sampler import Sampler, from_pixels, make_sampler, to_pixels
from seedbank.selection.targets import Encoder, Targets, make_paper_targets, make_targets, stack_images, through_codec
from seedbank.trials import Pool, Receipt, SamplerConfig, Scores

Pixels = npt.NDArray[np.uint8]
ROUNDING = 1e-4
"""Two readings of the guard on one image, alone and in a batch, may differ by this."""


@dataclass(frozen=True)
class Picture:
    """A seed, the picture ``[H, W, 3]`` it makes alone, and its scores."""

    seed: Seed
    pixels: Pixels
    scores: Scores
    accepted: bool
    verdict: str


@dataclass(frozen=True)
class Find:
    """What one start led to. ``trace[i]`` is iterate ``i``; ``kept`` is the iterate that became ``picture``."""

    start: Seed
    picture: Picture
    kept: int
    trace: tuple[Reading, ...]
    stopped_by: str


@dataclass(frozen=True)
class Selection:
    """Everything a selection found."""

    recipe: Recipe
    sampler: SamplerConfig
    pool: Pool
    explored: Explored
    threshold: float
    """Nearness under the guard that an acceptable image has at least."""
    reachable: Reach
    plain: tuple[Picture, ...]
    """The first seeds of the pool, as anybody would have drawn them."""
    finds: tuple[Find, ...]
    """One for each start; none where the concept is out of reach."""
    receipt: Receipt

    @property
    def accepted(self) -> tuple[Find, ...]:
        """The finds the guard accepts."""
        return tuple(find for find in self.finds if find.picture.accepted)


@dataclass(frozen=True)
class Event:
    """What an observer is told after each batch, iteration and picture.

    Attributes:
        stage: where the selection is.
        done: units of this stage done, of ``total`` at most.
        progress: give its bytes to ``resume`` to go on from here; None while pictures are drawn.
        images: ``[H, W, 3]`` of the starts evaluated in this iteration, by start.
        latest: the iteration these images belong to.
    """

    stage: Literal["explore", "optimise", "draw"]
    done: int
    total: int
    progress: Progress | None = None
    images: dict[Seed, Pixels] | None = None
    latest: int = 0


Observer = Callable[[Event], None]


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
    observe: Observer = lambda _event: None,
    resume: Progress | None = None,
) -> Selection:
    """Find seeds that make ``pipeline`` draw what ``references`` show.

    Args:
        pipeline: a diffusers pipeline of a supported family with a DDIM scheduler; it is not changed.
        prompt: what to draw.
        references: photos of it, of any size and aspect.
        encoder: the embedding whose gradient is followed.
        guard: another embedding, never differentiated, that accepts or rejects.
        recipe: how to search.
        starts: how many seeds to optimise.
        plain: how many plain seeds to draw for comparison.
        seed: the integer, as a decimal string, that all draws derive from.
        sampler: how to sample; default 20 steps at guidance 7.5.
        observe: told how far it is.
        resume: the progress of an interrupted call with the same arguments.

    Raises:
        UsageError: no references, or a pipeline that is not supported.
    """
    search = Search(
        sampler=make_sampler(pipeline, prompt, sampler),
        references=references,
        encoder=encoder,
        embed=guard,
        recipe=recipe,
        seed=seed,
        observe=observe,
    )
    pool, cost = search.explore(resume)
    if reach(pool.statistics().guard_max, search.guard) == "no":
        return search.result(pool, None, plain=plain, cost=cost)
    if resume and resume.ways:
        cost = resume.network_evaluations
    ways, cost = search.optimise(pool, starts, cost, resume.ways if resume else None)
    return search.result(pool, ways, plain=plain, cost=cost)


@dataclass(frozen=True)
class Search:
    """The parts of one selection, and its three stages."""

    sampler: Sampler
    references: Sequence[Image.Image]
    encoder: Encoder
    embed: Embed
    recipe: Recipe
    seed: str = "0"
    observe: Observer = lambda _event: None

    @cached_property
    def photos(self) -> Tensor:
        """The references as ``[K, 3, H, W]`` in 0..1."""
        config = self.sampler.config
        return stack_images(self.references, config.height, config.width).to(self.sampler.family.device)

    @cached_property
    def targets(self) -> Targets:
        """The references in the spaces of the objective."""
        family = self.sampler.family
        if self.recipe.objective == "paper":
            return make_paper_targets(self.photos, self.encoder, family)
        return make_targets(self.photos, self.encoder, family, match_codec=self.recipe.match_codec)

    @cached_property
    def objective(self) -> Objective:
        """The objective the recipe names."""
        decode, targets, weight = self.sampler.family.decode, self.targets, self.recipe.appearance
        if self.recipe.objective == "paper":
            terms = (PaperSemantic(targets), PaperAppearance(targets, weight))
            return Objective(terms, decode, self.encoder, trail=self.recipe.trail, balanced=False)
        return Objective((Semantic(targets), LowFrequency(targets, weight)), decode, self.encoder)

    @cached_property
    def guard(self) -> Guard:
        """The guard of these references, which it sees as the image codec gives them back, as it sees generated images."""
        seen = through_codec(self.photos, self.sampler.family)
        return make_guard(self.photos, self.embed, seen=seen, slack=self.recipe.guard_slack)

    def explore(self, resume: Progress | None = None) -> tuple[Explored, int]:
        """The pool of plain seeds and its cost in network evaluations."""
        plan = self.recipe.explore

        def tell(pool: Explored, _images: Tensor) -> None:
            progress = Progress(pool, None, self.sampler.cost(len(pool)))
            self.observe(Event("explore", len(pool), plan.size, progress))

        known = resume.pool if resume else None
        pool = explore(self.sampler, self.objective, self.guard, root=self.seed, plan=plan, known=known, observe=tell)
        return pool, self.sampler.cost(len(pool))

    def optimise(self, pool: Explored, starts: int, cost: int, resume: Ways | None = None) -> tuple[Ways, int]:
        """The ways of the chosen starts to their ends, and the cost so far."""
        chosen = tuple(choose_starts(pool, starts, self.recipe.explore)) if resume is None else resume.starts
        origin = draws(self.seed, chosen, self.sampler.noise_shape).to(self.sampler.family.device)
        seeds = [plain_seed(self.seed, index, self.sampler.noise_shape) for index in chosen]
        spent = cost

        def tell(ways: Ways, active: list[int], images: Tensor, evaluations: int) -> None:
            nonlocal spent
            spent += evaluations
            done, total = ways.iteration - 1, self.recipe.iterations
            shown = dict(zip((seeds[position] for position in active), to_pixels(images), strict=True))
            self.observe(Event("optimise", done, total, Progress(pool, ways, spent), shown, done))

        climb = Climb(self.sampler, self.objective, self.guard, self.recipe, self._limits(pool), origin)
        return climb.run(resume or begin(chosen, origin, self.recipe), tell), spent

    def result(self, pool: Explored, ways: Ways | None, *, plain: int, cost: int) -> Selection:
        """Draw the pictures that are kept, each alone, and judge them."""
        pool_statistics = pool.statistics()
        plain = min(plain, len(pool))
        total = plain + (len(ways.starts) if ways else 0)
        pictures = []
        for index in range(plain):
            pictures.append(self.plain_picture(index))
            self.observe(Event("draw", index + 1, total))
        finds = []
        for position in range(len(ways.starts) if ways else 0):
            finds.append(self._find(ways, position))  # type: ignore[arg-type]
            self.observe(Event("draw", plain + position + 1, total))
        drawn = self.sampler.cost(total)
        return Selection(
            recipe=self.recipe,
            sampler=self.sampler.config,
            pool=pool_statistics,
            explored=pool,
            threshold=self.guard.threshold,
            reachable=reach(pool_statistics.guard_max, self.guard),
            plain=tuple(pictures),
            finds=tuple(finds),
            receipt=Receipt(network_evaluations=cost + drawn, iterations=ways.iteration - 1 if ways else 0),
        )

    def plain_picture(self, index: int) -> Picture:
        """The picture of plain seed ``index``, judged."""
        seed = plain_seed(self.seed, index, self.sampler.noise_shape)
        return self._judge(seed, seed, start_guard=-1.0, ended="a plain seed")

    def _find(self, ways: Ways, position: int) -> Find:
        start = plain_seed(self.seed, ways.starts[position], self.sampler.noise_shape)
        trace, ended = ways.traces[position], ways.stopped_by[position]
        kept = kept_reading(trace, self.recipe, self.guard.threshold).iteration
        seed = start if kept == 0 else self._optimised(start, ways.best[position], kept)
        picture = self._judge(seed, start, start_guard=trace[0].guard or -1.0, ended=f"{ended}; kept iterate {kept}")
        return Find(start, picture, kept, trace, ended)

    def _optimised(self, start: Seed, noise: Tensor, iteration: int) -> Seed:
        lineage = Lineage(
            kind="optimised", parents=(start.digest,), recipe=self.recipe.digest, note=f"iterate {iteration}"
        )
        return Seed(to_numpy(noise), lineage)

    def _judge(self, seed: Seed, start: Seed, *, start_guard: float, ended: str) -> Picture:
        """Draw ``seed`` alone, score exactly the bytes that are kept, and say whether they are accepted."""
        noise = torch.from_numpy(seed.latents.copy())
        found = self.objective.score(self.sampler.finish(noise))
        pixels = to_pixels(found.images)[0]
        image = from_pixels(pixels[None]).to(self.photos)
        scores = Scores(
            objective=float(found.objective),
            semantic=float(found.terms["semantic"]),
            appearance=float(found.terms["appearance"]),
            guard=float(self.guard.similarity(image)),
            cosine_to_start=float(sphere.cosine(noise[None], torch.from_numpy(start.latents.copy())[None])),
            norm_z=float(sphere.norm_score(noise[None])),
            whiteness=float(sphere.whiteness(noise[None])),
        )
        faults = self._faults(scores.guard, float(self.guard.copy_score(image)), start_guard)
        words = "; ".join(faults) or f"accepted: nearness {scores.guard:.3f} >= {self.guard.threshold:.3f}"
        return Picture(seed, pixels, scores, not faults, f"{words} ({ended})")

    def _faults(self, nearness: float, copy: float, start_guard: float) -> list[str]:
        faults = []
        if nearness < self.guard.threshold:
            faults.append(f"rejected: nearness {nearness:.3f} < {self.guard.threshold:.3f}")
        if nearness < start_guard - ROUNDING:
            faults.append(f"rejected: nearness {nearness:.3f} is below its start's {start_guard:.3f}")
        if copy >= self.guard.copy_limit:
            faults.append(f"rejected: too like a reference (correlation {copy:.2f} >= {self.guard.copy_limit:.2f})")
        return faults

    def _limits(self, pool: Explored) -> Limits:
        update = self.recipe.update
        return Limits(
            threshold=self.guard.threshold,
            guard_deviation=pool.statistics().guard_std,
            semantic_goal=float(1 - self.targets.leave_one_out().mean()),
            cosine_floor=update.cosine_floor if isinstance(update, Tangent) else -1.0,
        )
