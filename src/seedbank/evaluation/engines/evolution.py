"""CMA-ES over the weights of a mix (ii of facts 6.4; Hansen, "The CMA evolution strategy: a tutorial", arXiv 1604.00772)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seedbank.evaluation.engines.base import Asked, checked, digest_of, finite
from seedbank.selection.sampling.mixes import Basis, mixed
from seedbank.selection.sampling.noise import generator, stacked
from seedbank.selection.seeds import Seed


@dataclass(frozen=True)
class EvolutionSettings:
    """How CMA-ES searches. Only the direction of weights counts, so the step is relative to a vector of length 1."""

    step: float = 0.5
    """Standard deviation of the first generation, times ``1 / sqrt(K)`` for each weight: a cloud of radius ``step``."""
    population: int = 0
    """Mixes of one generation; 0 for CMA-ES's own ``4 + 3 ln K``."""


@dataclass
class EvolvedMixes:
    """An engine over mixes of K elites. It starts at the first elite."""

    elites: Sequence[Seed]
    root: str
    settings: EvolutionSettings = field(default_factory=EvolutionSettings)
    _asked: tuple[list[Any], Asked] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        import cma

        count = len(self.elites)
        self._basis = Basis.of(stacked(self.elites))
        self._recipe = digest_of({"engine": "cma", "root": self.root, **asdict(self.settings)})
        random = generator(self.root, "cma")
        options: dict[str, Any] = {
            "seed": np.nan,  # leaves numpy's global generator alone: all draws come from `randn`
            "randn": lambda *shape: random.standard_normal(shape),
            "verbose": -9,
            "verb_log": 0,
            "CMA_elitist": False,
        }
        if self.settings.population:
            options["popsize"] = self.settings.population
        # The first elite, in the space of weights.
        start = np.eye(count)[0]
        self._strategy = cma.CMAEvolutionStrategy(start, self.settings.step / count**0.5, options)

    def ask(self) -> Asked:
        """The next generation of mixes."""
        if self._asked is None:
            points = self._strategy.ask()
            weights = torch.from_numpy(np.stack(points))
            # Normalised for mixing only: CMA-ES has to be told of the points that it asked for.
            weights = weights / torch.linalg.vector_norm(weights, dim=1, keepdim=True)
            self._asked = points, Asked(self._basis.mix(weights), mixed(self.elites, weights, self._recipe))
        return self._asked[1]

    def tell(self, scores: Tensor) -> None:
        """Update mean, step and covariance."""
        values = finite(checked(scores, self._asked and self._asked[1]))
        points, _ = self._asked  # type: ignore[misc]
        self._strategy.tell(points, values.tolist())
        self._asked = None
