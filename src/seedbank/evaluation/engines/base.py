"""What an engine is, and what all of them share.

An engine is deterministic: the same settings and the same scores told give the same proposals. So the scores are its whole state, and to
resume is to :func:`replay` them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.records import canonical_json, sha256
from seedbank.selection.sampling.noise import to_numpy
from seedbank.selection.seeds import Lineage, Seed


@dataclass(frozen=True)
class Asked:
    """Proposed seeds: noise ``[q, C, h, w]`` (float32, on the CPU), and where each came from."""

    noise: Tensor
    lineages: tuple[Lineage, ...]

    def __len__(self) -> int:
        return len(self.lineages)

    def seed(self, row: int) -> Seed:
        """One of them as a seed."""
        return Seed(to_numpy(self.noise[row]), self.lineages[row])


class Engine(Protocol):
    """Proposes seeds and learns from their scores."""

    def ask(self) -> Asked:
        """The next batch to score. Asking again before telling gives the same batch."""

    def tell(self, scores: Tensor) -> None:
        """The scores ``[q]`` of the last batch asked for; lower is better, and NaN counts as worst."""


AnyEngine = TypeVar("AnyEngine", bound=Engine)


def replay(engine: AnyEngine, history: Iterable[Sequence[float]]) -> AnyEngine:
    """Bring a fresh ``engine`` to where another was that had been told ``history``; returns it."""
    for scores in history:
        # Asked although the answer is known: an engine is told only of what it was asked for, and asking moves it on.
        engine.ask()
        engine.tell(torch.tensor(list(scores), dtype=torch.float64))
    return engine


def checked(scores: Tensor, asked: Asked | None) -> Tensor:
    """``scores`` as float64 on the CPU, what is not finite replaced by the worst possible.

    Raises:
        UsageError: nothing was asked, or another number of scores came.
    """
    if asked is None:
        raise UsageError("expected ask() before tell(), got scores nobody asked for")
    if tuple(scores.shape) != (len(asked),):
        raise UsageError(f"expected {len(asked)} scores, one for each seed asked for, got shape {tuple(scores.shape)}")
    # Float64, in which histories are kept: a replay must be told exactly the same numbers.
    values = scores.detach().cpu().double()
    return torch.where(values.isfinite(), values, torch.full_like(values, torch.inf))


def finite(scores: Tensor) -> Tensor:
    """``scores`` with infinite ones set to the worst finite one (0 where none is): models are fitted to numbers."""
    good = scores.isfinite()
    worst = float(scores[good].max()) if bool(good.any()) else 0.0
    return torch.where(good, scores, torch.full_like(scores, worst))


def digest_of(settings: dict[str, Any]) -> str:
    """The digest of an engine's settings, for lineages."""
    return sha256(canonical_json(settings))


__all__ = [
    "Asked", "Engine", "checked", "digest_of", "finite", "replay",
]  # fmt: skip
