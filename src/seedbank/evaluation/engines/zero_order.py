"""Zero-order search with restarts (iii of facts 6.4): look around the best seed, ever closer, and start elsewhere when it stalls.

The zero-order search of Ma et al. (CVPR 2025) looks at a fixed distance and was reported to stall; here the cosine to the best seed
rises from wide to narrow, and a stall restarts from the next seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from seedbank.evaluation.engines.base import Asked, checked, digest_of
from seedbank.selection.sampling.mixes import neighbours, repelled
from seedbank.selection.sampling.noise import plain_seed
from seedbank.selection.seeds import Lineage, Seed


@dataclass(frozen=True)
class NeighbourSettings:
    """How the neighbourhood is searched."""

    batch: int = 4
    """Neighbours of one round."""
    widest: float = 0.7
    """Cosine of the first round after a start."""
    narrowest: float = 0.95
    """Cosine after ``rounds`` rounds, and from then on."""
    rounds: int = 8
    """Rounds from widest to narrowest."""
    patience: int = 3
    """Rounds in a row without improvement after which it starts elsewhere."""


@dataclass
class RestartedNeighbours:
    """An engine that climbs from each of ``starts`` in turn, and from fresh plain seeds below ``root`` when they are used up.

    Each climb first asks for its start. Within it a neighbour must beat the best of this climb; the best of all climbs is the
    runner's to keep.
    """

    starts: Sequence[Seed]
    root: str
    shape: tuple[int, int, int]
    settings: NeighbourSettings = field(default_factory=NeighbourSettings)
    _asked: Asked | None = field(init=False, default=None)
    _climbs: int = field(init=False, default=0)
    _round: int = field(init=False, default=0)
    _stalled: int = field(init=False, default=0)
    _centre: Seed | None = field(init=False, default=None)
    _best: float = field(init=False, default=float("inf"))
    _drawn: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._recipe = digest_of({"engine": "zero_order", "root": self.root, **asdict(self.settings)})

    def ask(self) -> Asked:
        """The start of a climb alone, or the next neighbours."""
        if self._asked is None:
            self._asked = self._start() if self._centre is None else self._around(self._centre)
        return self._asked

    def tell(self, scores: Tensor) -> None:
        """Move to the best neighbour if it is better, or else look closer, or start elsewhere."""
        values = checked(scores, self._asked)
        asked, row = self._asked, int(values.argmin())
        better = float(values[row]) < self._best
        # The start of a climb becomes its centre whatever its score, or a NaN would leave no centre.
        if self._centre is None or better:
            self._centre, self._best = asked.seed(row), float(values[row])  # type: ignore[union-attr]
        self._stalled = 0 if better else self._stalled + 1
        self._asked = None
        if self._stalled >= self.settings.patience:
            self._centre, self._best, self._stalled, self._round = None, float("inf"), 0, 0

    @property
    def cosine(self) -> float:
        """Cosine between the centre and the neighbours of the coming round."""
        share = min(self._round / max(self.settings.rounds - 1, 1), 1.0)
        return self.settings.widest + share * (self.settings.narrowest - self.settings.widest)

    def _start(self) -> Asked:
        climb = self._climbs
        self._climbs += 1
        # A climb's number is also its plain seed's, so fresh seeds never repeat.
        seed = self.starts[climb] if climb < len(self.starts) else plain_seed(self.root, climb, self.shape)
        return Asked(torch.from_numpy(seed.latents.copy())[None], (seed.lineage,))

    def _around(self, centre: Seed) -> Asked:
        cosine, first = self.cosine, self._drawn
        # Rounded up to whole antithetic pairs, so that no direction is the opposite of one of another round.
        self._drawn += self.settings.batch + self.settings.batch % 2
        self._round += 1
        across = repelled(f"{self.root}/zero_order", range(first, first + self.settings.batch), self.shape)
        noise = neighbours(torch.from_numpy(centre.latents.copy())[None], across, cosine)
        lineage = Lineage(kind="neighbour", parents=(centre.digest,), recipe=self._recipe, note=f"cosine {cosine:.4f}")
        return Asked(noise, tuple(lineage for _ in noise))
