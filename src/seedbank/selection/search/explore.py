"""Exploration: many seeds in batches, previewed in a few steps, the better ones drawn whole, and the choice of where to start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seedbank.errors import VerificationError
from seedbank.selection.judging.guard import Guard
from seedbank.selection.records import PoolStatistics
from seedbank.selection.sampling.noise import PoolSeeds
from seedbank.selection.sampling.sampler import Sampler
from seedbank.selection.search.objective import Objective
from seedbank.selection.search.recipes import Explore


@dataclass(frozen=True)
class Explored:
    """What is known of a pool of candidates so far.

    Attributes:
        indices: ``[n]``, numbers of the candidates that were drawn whole.
        objective: ``[n]`` of their images.
        guard: ``[n]``, nearness to the references under the guard, before any contrast.
        embeddings: ``[n, D]`` of their images, by the objective's encoder.
        looks: ``[n, G]``, likewise by the guard's.
        previews: objective of the previews of candidates 0 to m, ``[m]``; empty where there are none.
    """

    indices: Tensor
    objective: Tensor
    guard: Tensor
    embeddings: Tensor
    looks: Tensor
    previews: Tensor

    def __len__(self) -> int:
        return len(self.objective)

    @classmethod
    def empty(cls) -> Explored:
        """Nothing yet."""
        nothing = torch.zeros(0)
        return cls(nothing.long(), nothing, nothing, torch.zeros(0, 0), torch.zeros(0, 0), nothing)

    def to_safetensors(self) -> bytes:
        """This pool as a safetensors file."""
        return save({each.name: getattr(self, each.name).contiguous() for each in fields(self)})

    @classmethod
    def from_safetensors(cls, data: bytes) -> Explored:
        """Read a pool back.

        Raises:
            VerificationError: ``data`` is no such file.
        """
        try:
            tensors = load(data)
            return cls(**{each.name: tensors[each.name] for each in fields(cls)})
        except (SafetensorError, KeyError, ValueError) as error:
            raise VerificationError(
                f"expected an explored pool in safetensors, got {len(data)} other bytes; the file is damaged"
            ) from error

    def join(self, more: Explored) -> Explored:
        """This pool followed by what was drawn whole in ``more``."""
        if not len(self):
            return replace(more, previews=self.previews)
        pairs = {name: torch.cat([getattr(self, name), getattr(more, name)]) for name in _COLUMNS}
        return Explored(**pairs, previews=self.previews)

    def statistics(self) -> PoolStatistics:
        """Mean, deviation and best of the pool."""
        few = len(self) < 2
        return PoolStatistics(
            size=len(self),
            objective_mean=float(self.objective.mean()),
            objective_std=0.0 if few else float(self.objective.std()),
            guard_mean=float(self.guard.mean()),
            guard_std=0.0 if few else float(self.guard.std()),
            guard_max=float(self.guard.max()),
            previewed=len(self.previews),
        )


_COLUMNS = ("indices", "objective", "guard", "embeddings", "looks")


def explore(
    sampler: Sampler,
    objective: Objective,
    guard: Guard,
    candidates: PoolSeeds,
    *,
    plan: Explore,
    known: Explored | None = None,
    observe: Callable[[Explored, Tensor], None] = lambda _pool, _images: None,
) -> Explored:
    """Score ``candidates``, going on after ``known``.

    With ``plan.preview`` all are drawn in that share of the steps first, and only the better ``plan.keep`` of them whole (one rung of
    successive halving; Jamieson & Talwalkar, arXiv 1502.07943). ``observe`` is told the pool so far and the images of the latest batch,
    after each batch.
    """
    pool = known or Explored.empty()
    few = previewer(sampler, plan)
    while few and len(pool.previews) < len(candidates):
        done = len(pool.previews)
        images, scores = _preview(few, objective, candidates, range(done, min(done + plan.batch, len(candidates))))
        pool = replace(pool, previews=torch.cat([pool.previews, scores]))
        observe(pool, images)
    chosen = survivors(pool.previews, plan) if few else list(range(len(candidates)))
    while len(pool) < len(chosen):
        batch = chosen[len(pool) : len(pool) + plan.batch]
        found = objective.score(sampler.denoise(candidates.noise(batch).to(sampler.family.device)))
        looks = guard.embed(found.images)
        judged = (guard.judge(looks).cpu(), found.embeddings.cpu(), looks.cpu())
        pool = pool.join(Explored(torch.tensor(batch), found.objective.cpu(), *judged, pool.previews))
        observe(pool, found.images)
    return pool


def previewer(sampler: Sampler, plan: Explore) -> Sampler | None:
    """The same sampler in fewer steps, for previews; None where there are to be none or they would cost as much."""
    steps = max(1, round(plan.preview * len(sampler.steps)))
    return sampler.with_steps(steps) if plan.preview and steps < len(sampler.steps) else None


def exploration_cost(sampler: Sampler, plan: Explore, pool: Explored) -> int:
    """Network evaluations that went into ``pool``."""
    few = previewer(sampler, plan)
    return sampler.cost(len(pool)) + (few.cost(len(pool.previews)) if few else 0)


def survivors(previews: Tensor, plan: Explore) -> list[int]:
    """The numbers, in order, of the candidates whose previews are among the better ``plan.keep``."""
    count = max(1, round(plan.keep * len(previews)))
    return sorted(previews.argsort(stable=True)[:count].tolist())


def choose_starts(pool: Explored, count: int, plan: Explore) -> list[int]:
    """Which candidates to optimise, by number: the best one, then again and again the one least like those already chosen.

    Only the best ``plan.shortlist * count`` by the objective are considered. The guard has no say here: it stays a judge.
    """
    if not plan.ranked:
        return pool.indices[: min(count, len(pool))].tolist()
    ranked = torch.argsort(pool.objective, stable=True).tolist()
    shortlist = ranked[: max(count, int(plan.shortlist * count))]
    chosen = shortlist[:1]
    while len(chosen) < min(count, len(shortlist)):
        rest = [index for index in shortlist if index not in chosen]
        likeness = (pool.embeddings[rest] @ pool.embeddings[chosen].T).amax(1)
        chosen.append(rest[int(likeness.argmin())])
    return [int(pool.indices[row]) for row in sorted(chosen, key=ranked.index)]


@torch.no_grad()
def _preview(few: Sampler, objective: Objective, candidates: PoolSeeds, batch: range) -> tuple[Tensor, Tensor]:
    found = objective.score(few.denoise(candidates.noise(batch).to(few.family.device)))
    return found.images, found.objective.cpu()
