"""Exploration: plain seeds in batches, scored as candidates will be, and the choice of where to start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seedbank.selection.draws import draws
from seedbank.selection.guard import Guard
from seedbank.selection.objective import Objective
from seedbank.selection.recipes import Explore
from seedbank.selection.sampler import Sampler
from seedbank.trials import Pool


@dataclass(frozen=True)
class Explored:
    """What is known of the first n seeds of a pool: ``[n]`` each, and ``[n, D]`` embeddings of their images."""

    objective: Tensor
    guard: Tensor
    embeddings: Tensor

    def __len__(self) -> int:
        return len(self.objective)

    def join(self, more: Explored) -> Explored:
        """This pool followed by ``more``."""
        return Explored(
            torch.cat([self.objective, more.objective]),
            torch.cat([self.guard, more.guard]),
            torch.cat([self.embeddings, more.embeddings]),
        )

    def statistics(self) -> Pool:
        """Mean, deviation and best of the pool."""
        few = len(self) < 2
        return Pool(
            size=len(self),
            objective_mean=float(self.objective.mean()),
            objective_std=0.0 if few else float(self.objective.std()),
            guard_mean=float(self.guard.mean()),
            guard_std=0.0 if few else float(self.guard.std()),
            guard_max=float(self.guard.max()),
        )


def explore(
    sampler: Sampler,
    objective: Objective,
    guard: Guard,
    *,
    root: str,
    plan: Explore,
    known: Explored | None = None,
    observe: Callable[[Explored, Tensor], None] = lambda _pool, _images: None,
) -> Explored:
    """Score the plain seeds 0 to ``plan.size`` below ``root``, going on after ``known``.

    ``observe`` is told the pool so far and the images of the latest batch, after each batch.
    """
    pool = known
    while pool is None or len(pool) < plan.size:
        done = 0 if pool is None else len(pool)
        indices = range(done, min(done + plan.batch, plan.size))
        found = objective.score(sampler.run(draws(root, indices, sampler.noise_shape).to(sampler.family.device)))
        batch = Explored(found.objective.cpu(), guard.similarity(found.images).cpu(), found.embeddings.cpu())
        pool = batch if pool is None else pool.join(batch)
        observe(pool, found.images)
    return pool


def choose_starts(pool: Explored, count: int, plan: Explore) -> list[int]:
    """Which seeds of the pool to optimise: the best one, then again and again the one least like those already chosen.

    Only the best ``plan.shortlist * count`` by the objective are considered. The guard has no say here: it stays a judge.
    """
    if not plan.ranked:
        return list(range(min(count, len(pool))))
    ranked = torch.argsort(pool.objective, stable=True).tolist()
    shortlist = ranked[: max(count, int(plan.shortlist * count))]
    chosen = shortlist[:1]
    while len(chosen) < min(count, len(shortlist)):
        rest = [index for index in shortlist if index not in chosen]
        likeness = (pool.embeddings[rest] @ pool.embeddings[chosen].T).amax(1)
        chosen.append(rest[int(likeness.argmin())])
    return sorted(chosen, key=ranked.index)
