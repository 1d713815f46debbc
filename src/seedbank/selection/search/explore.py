"""Exploration: many seeds in batches, previewed in a few steps, the better ones drawn in all steps, and the choice of where to start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.judging.acceptance import Acceptance
from seedbank.selection.judging.guard import Guard
from seedbank.selection.judging.targets import failure_centroids
from seedbank.selection.sampling.gradients import Evaluation
from seedbank.selection.sampling.inversion import inversion_cost
from seedbank.selection.sampling.noise import PoolSeeds
from seedbank.selection.sampling.sampler import Sampler
from seedbank.selection.search.checkpoint import Checkpoint
from seedbank.selection.search.diagnose import Diagnosis, diagnose
from seedbank.selection.search.name_effect import UNNAMED, name_effect
from seedbank.selection.search.objective import Contrastive, Objective
from seedbank.selection.search.pool import Pool
from seedbank.selection.search.recipes import Explore
from seedbank.selection.search.results import Event, Observer
from seedbank.selection.search.seed_search import SeedSearch


@dataclass(frozen=True, kw_only=True)
class ExplorationResult:
    """The pool, and what follows from it.

    Attributes:
        pool: every seed that was drawn, as ``acceptance`` judges it.
        acceptance: the rule, which knows what plain seeds draw instead.
        objective: likewise.
        network_evaluations: what it cost.
        name_effect: see :func:`~.name_effect.name_effect`; None where the pool alone was enough to go on.
    """

    pool: Pool
    acceptance: Acceptance
    objective: Objective
    network_evaluations: int
    name_effect: float | None = None

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What the pool promises."""
        found = diagnose(self.acceptance, guard_embeddings=self.pool.guard_embeddings, embeddings=self.pool.embeddings)
        return found if self.name_effect is None else found.with_name_effect(self.name_effect)


def explore(
    search: SeedSearch, *, resume: Checkpoint | None = None, observe: Observer = lambda _event: None
) -> ExplorationResult:
    """Draw the pool of a search, going on after ``resume``, and say what it promises."""
    plan = search.recipe.explore

    def on_batch(pool: Pool, _images: Tensor) -> None:
        checkpoint = Checkpoint(pool=pool, network_evaluations=_cost(search, pool))
        observe(Event("explore", len(pool.previews) + len(pool), images_to_draw(search), checkpoint))

    # 1. Draw and score.
    pool = draw_pool(
        search.sampler,
        search.objective,
        search.acceptance.guard,
        search.seeds,
        plan=plan,
        known=resume.pool if resume else None,
        observe=on_batch,
    )

    # 2. What most plain seeds give is what the guard and the objective must tell the concept from.
    acceptance = search.acceptance.against(pool.guard_embeddings)
    result = ExplorationResult(
        # Again by the guard that has learnt what plain seeds give, so that all scores of a search are of one guard.
        pool=pool.judged_by(acceptance.guard),
        acceptance=acceptance,
        objective=_with_contrast(search, pool),
        network_evaluations=_cost(search, pool),
    )

    # 3. How far a pool's best reach is partly luck: *unreachable* is not believed before the effect of the name was measured.
    if result.diagnosis.recommendation != "unreachable":
        return result
    effect = name_effect(search.sampler, acceptance, guard_embeddings=pool.guard_embeddings, embeddings=pool.embeddings)
    cost = result.network_evaluations + search.sampler.cost(UNNAMED)
    return replace(result, name_effect=effect, network_evaluations=cost)


def draw_pool(
    sampler: Sampler,
    objective: Objective,
    guard: Guard,
    seeds: PoolSeeds,
    *,
    plan: Explore,
    known: Pool | None = None,
    observe: Callable[[Pool, Tensor], None] = lambda _pool, _images: None,
) -> Pool:
    """Score ``seeds``, going on after ``known``.

    With ``plan.preview`` all are drawn in that share of the steps first, and only the better ``plan.keep`` of them in all steps (one rung
    of successive halving; Jamieson & Talwalkar, arXiv 1502.07943). After each batch ``observe`` gets the pool so far and the images of the
    batch, ``[B, 3, H, W]`` in 0..1.

    Raises:
        UsageError: the model draws images that are no numbers, in the arithmetic that it computes in.
    """
    pool = known or Pool.empty()
    few = previewer(sampler, plan)
    # 1. Previews. How many there are says where an interrupted exploration goes on; the pool is kept on the CPU, so that its size
    # costs no memory of the device.
    while few and len(pool.previews) < len(seeds):
        done = len(pool.previews)
        batch = range(done, min(done + plan.batch, len(seeds)))
        drawn = _checked(objective.score(few.denoise(seeds.noise(batch).to(few.family.device))), few)
        pool = replace(pool, previews=torch.cat([pool.previews, drawn.objective.cpu()]))
        observe(pool, drawn.images)
    # 2. The survivors in all steps, in an order that follows from the previews alone: the pool's length says where to go on.
    chosen = survivors(pool.previews, plan) if few else list(range(len(seeds)))
    while len(pool) < len(chosen):
        numbers = chosen[len(pool) : len(pool) + plan.batch]
        drawn = _checked(objective.score(sampler.denoise(seeds.noise(numbers).to(sampler.family.device))), sampler)
        guard_embeddings = guard.embed(drawn.images)
        rows = Pool(
            indices=torch.tensor(numbers),
            objective=drawn.objective.cpu(),
            guard=guard.judge(guard_embeddings).cpu(),
            embeddings=drawn.embeddings.cpu(),
            guard_embeddings=guard_embeddings.cpu(),
            previews=pool.previews,
        )
        pool = pool.joined(rows)
        observe(pool, drawn.images)
    return pool


def _checked(drawn: Evaluation, sampler: Sampler) -> Evaluation:
    broken = ~drawn.images.isfinite().flatten(1).all(1)
    if bool(broken.any()):
        raise UsageError(
            f"expected images of the model, got NaN or infinity in {int(broken.sum())} of {len(broken)} that it drew in "
            f"{sampler.config.dtype}: its arithmetic overflows or its weights are broken; try `precision: float32` in its profile"
        )
    return drawn


def previewer(sampler: Sampler, plan: Explore) -> Sampler | None:
    """The same sampler in fewer steps, for previews; None where there are to be none or they would cost as much."""
    steps = max(1, round(plan.preview * len(sampler.steps)))
    return sampler.with_steps(steps) if plan.preview and steps < len(sampler.steps) else None


def pool_cost(sampler: Sampler, plan: Explore, pool: Pool) -> int:
    """Network evaluations that went into ``pool``."""
    few = previewer(sampler, plan)
    return sampler.cost(len(pool)) + (few.cost(len(pool.previews)) if few else 0)


def survivors(previews: Tensor, plan: Explore) -> list[int]:
    """The numbers, in order, of the seeds whose previews are among the better ``plan.keep``."""
    count = max(1, round(plan.keep * len(previews)))
    # Stable, so that ties go to the lower number.
    return sorted(previews.argsort(stable=True)[:count].tolist())


def choose_starts(pool: Pool, count: int, plan: Explore) -> list[int]:
    """Which seeds to optimise, by number: the best one, then again and again the one least like those already chosen.

    Only the best ``plan.shortlist * count`` by the objective are considered. The guard has no say here: it stays a judge.
    """
    if not plan.ranked:
        return pool.indices[: min(count, len(pool))].tolist()
    ranked = torch.argsort(pool.objective, stable=True).tolist()
    shortlist = ranked[: max(count, int(plan.shortlist * count))]
    # Farthest-first traversal (Gonzalez 1985), with cosine as the likeness: rows are of length 1, [rest, chosen].
    chosen = shortlist[:1]
    while len(chosen) < min(count, len(shortlist)):
        rest = [index for index in shortlist if index not in chosen]
        likeness = (pool.embeddings[rest] @ pool.embeddings[chosen].T).amax(1)
        chosen.append(rest[int(likeness.argmin())])
    # Best first again: calibration takes the first ones.
    return [int(pool.indices[row]) for row in sorted(chosen, key=ranked.index)]


def images_to_draw(search: SeedSearch) -> int:
    """Previews and images of an exploration, all together."""
    plan, total = search.recipe.explore, len(search.seeds)
    return total + max(1, round(plan.keep * total)) if previewer(search.sampler, plan) else total


def _cost(search: SeedSearch, pool: Pool) -> int:
    """Network evaluations of an exploration, inverted references included."""
    plan = search.recipe.explore
    inverted = inversion_cost(search.sampler, len(search.targets.latents)) if plan.inverted else 0
    return inverted + pool_cost(search.sampler, plan, pool)


def _with_contrast(search: SeedSearch, pool: Pool) -> Objective:
    """The objective with a pull away from what plain seeds give instead, where they give something else."""
    objective, targets, weight = search.objective, search.targets, search.recipe.contrast
    if search.recipe.objective == "paper" or not weight:
        return objective
    failures = failure_centroids(pool.embeddings.to(targets.centroid.device), targets)
    if not len(failures):
        return objective
    return replace(objective, terms=(*objective.terms, Contrastive(targets, failures, weight)))
