"""Runs an engine against a score, counting what it costs and keeping the best."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seedbank.evaluation.engines.base import Asked, Engine
from seedbank.selection.sampling.sampler import Sampler
from seedbank.selection.seeds import Seed

Score = Callable[[Tensor], Tensor]
"""Final latents ``[B, C, h, w]`` to ``[B]``, lower is better. Nothing about it needs to be differentiable."""


def of_images(sampler: Sampler, score: Callable[[Tensor], Tensor]) -> Score:
    """A score of latents from one of images ``[B, 3, H, W]`` in 0..1."""
    return lambda latents: score(sampler.family.decode(latents).clamp(0, 1))


@dataclass(frozen=True)
class ScoredBatch:
    """The scores of one batch that an engine asked for, and network evaluations spent up to and including it."""

    scores: tuple[float, ...]
    network_evaluations: int


@dataclass(frozen=True)
class EngineRun:
    """What an engine found.

    Attributes:
        best: the best seeds, best first, each with its lineage.
        scores: of ``best``.
        batches: all of them; their scores are what :func:`seedbank.evaluation.engines.base.replay` takes.
        seconds: what this call took; all else is the same whenever the arguments are.
    """

    best: tuple[Seed, ...]
    scores: tuple[float, ...]
    batches: tuple[ScoredBatch, ...]
    seconds: float = field(default=0.0, compare=False)

    @property
    def network_evaluations(self) -> int:
        """What the search cost."""
        return self.batches[-1].network_evaluations if self.batches else 0


def run_engine(
    engine: Engine,
    sampler: Sampler,
    score: Score,
    budget: int,
    *,
    keep: int = 1,
    resume: Sequence[Sequence[float]] = (),
    observe: Callable[[tuple[ScoredBatch, ...]], None] = lambda _batches: None,
    affords: Callable[[int], bool] = lambda _cost: True,
) -> EngineRun:
    """Ask ``engine`` for seeds, draw and score them, tell it, until the next batch would pass ``budget``.

    Args:
        engine: fresh; it is used up.
        sampler: draws the images, batch by batch.
        score: what is minimised; for one that looks at images see :func:`of_images`.
        budget: network evaluations at most; those of a replayed history count.
        keep: how many of the best seeds to return.
        resume: scores of an interrupted run with the same arguments, batch by batch; they are told, not drawn again.
        observe: told all batches so far after each.
        affords: asked before each batch with its cost in network evaluations; a clock can say no.
    """
    began = time.perf_counter()
    best: list[tuple[float, int, Seed]] = []
    batches: tuple[ScoredBatch, ...] = ()
    spent, seen, known = 0, 0, list(resume)
    while True:
        asked = engine.ask()
        cost = sampler.cost(len(asked))
        # Batches from a resumed history have been paid for already; the clock has no say about them.
        if spent + cost > budget or (len(batches) >= len(known) and not affords(cost)):
            break
        scores = _kept_scores(known[len(batches)]) if len(batches) < len(known) else _draw(sampler, score, asked)
        engine.tell(scores)
        spent += cost
        ranked = zip(scores.tolist(), range(seen, seen + len(asked)), range(len(asked)), strict=True)
        # The running number decides ties, and keeps sorting from ever comparing seeds.
        best = _lowest((*best, *((value, order, asked.seed(row)) for value, order, row in ranked)), keep)
        seen += len(asked)
        batches = (*batches, ScoredBatch(tuple(scores.tolist()), spent))
        observe(batches)
    return EngineRun(
        best=tuple(seed for _, _, seed in best),
        scores=tuple(value for value, _, _ in best),
        batches=batches,
        seconds=time.perf_counter() - began,
    )


@torch.no_grad()
def _draw(sampler: Sampler, score: Score, asked: Asked) -> Tensor:
    return score(sampler.denoise(asked.noise.to(sampler.family.device))).detach().cpu().double()


def _kept_scores(scores: Sequence[float]) -> Tensor:
    # Float64 as from `_draw`, or a resumed engine would be told rounded scores and go another way.
    return torch.tensor(list(scores), dtype=torch.float64)


def _lowest(found: Iterable[tuple[float, int, Seed]], keep: int) -> list[tuple[float, int, Seed]]:
    """The ``keep`` lowest; what is not a number is last, and the earlier of equals first."""
    return sorted(found, key=lambda item: (item[0] if item[0] == item[0] else float("inf"), item[1]))[:keep]
