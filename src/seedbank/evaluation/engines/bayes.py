"""Bayesian optimisation on the sphere of mixes (i of facts 6.4).

A Gaussian process with a Matérn-5/2 kernel on the chordal distance ``|w - w'|`` is fitted to all scores so far. Each batch is chosen by
Thompson sampling: one draw of the posterior over many candidate points, whose lowest point is proposed. Candidates lie within an angle
of the best point, which shrinks after failures and grows after successes (TuRBO, Eriksson et al., arXiv 1910.01739).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import cos, pi, sin
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.evaluation.engines.base import Asked, checked, digest_of, finite
from seedbank.selection.sampling.mixes import Basis, mixed, on_sphere
from seedbank.selection.sampling.noise import generator, stacked
from seedbank.selection.seeds import Seed


@dataclass(frozen=True)
class BayesSettings:
    """How Bayesian optimisation searches."""

    batch: int = 4
    """Points proposed at once."""
    initial: int = 2
    """Points before the first model, as a multiple of the number of elites: the elites themselves, then random mixes."""
    candidates: int = 512
    """Points a posterior draw is looked at on."""
    reach: float = pi / 2
    """Angle from the best point that candidates lie within, at first and at most."""
    failures: int = 3
    """Batches in a row without a new best after which the angle is halved."""
    successes: int = 2
    """Batches in a row with a new best after which it is doubled."""
    least: float = pi / 64
    """An angle below this starts again at ``reach``."""


@dataclass
class BayesianMixes:
    """An engine over mixes of K elites: the elites themselves, unless their scores are ``known``, random mixes, then the model's choice.

    Attributes:
        elites: seeds to mix, at least two.
        root: what all random draws derive from.
        known: scores of the elites, for instance from exploration; they are then not asked for.
        settings: how to search.
    """

    elites: Sequence[Seed]
    root: str
    known: Sequence[float] = ()
    settings: BayesSettings = field(default_factory=BayesSettings)
    _points: Tensor = field(init=False)
    _scores: Tensor = field(init=False)
    _asked: tuple[Tensor, Asked] | None = field(init=False, default=None)
    _reach: float = field(init=False)
    _wins: int = field(init=False, default=0)
    _losses: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._basis = Basis.of(stacked(self.elites))
        if len(self.known) not in (0, len(self.elites)):
            raise UsageError(
                f"expected a known score of each of {len(self.elites)} elites, or none, got {len(self.known)}"
            )
        # In the space of weights the elites are the unit vectors.
        self._points = torch.eye(len(self.elites), dtype=torch.float64)[: len(self.known)]
        self._scores = torch.tensor(list(self.known), dtype=torch.float64)
        self._reach = self.settings.reach
        self._recipe = digest_of(
            {"engine": "bayes", "root": self.root, "known": list(self.known), **asdict(self.settings)}
        )

    def ask(self) -> Asked:
        """The next ``batch`` mixes."""
        if self._asked is None:
            weights = self._weights()
            self._asked = weights, Asked(self._basis.mix(weights), mixed(self.elites, weights, self._recipe))
        return self._asked[1]

    def tell(self, scores: Tensor) -> None:
        """Learn, and shrink or widen the search."""
        values = checked(scores, self._asked and self._asked[1])
        weights, _ = self._asked  # type: ignore[misc]
        # Only batches that the model chose say whether its angle was right.
        if len(self._points) >= self._opening:
            self._resize(better=bool(values.min() < self._scores.min()))
        self._points = torch.cat([self._points, weights])
        self._scores = torch.cat([self._scores, values])
        self._asked = None

    @property
    def _opening(self) -> int:
        """How many points are proposed before the first model."""
        return max(self.settings.initial, 1) * len(self.elites)

    def _weights(self) -> Tensor:
        done, count = len(self._points), len(self.elites)
        random = generator(self.root, "bayes", done)
        if done >= self._opening:
            return self._modelled(random)
        spread = on_sphere(self.settings.batch, count, random)
        own = torch.eye(count, dtype=torch.float64)[done : done + self.settings.batch]
        return torch.cat([own, spread])[: self.settings.batch]

    def _modelled(self, random: np.random.Generator) -> Tensor:
        """Thompson sampling: each proposal is the lowest candidate of its own posterior draw, none chosen twice."""
        centre = self._points[int(self._scores.argmin())]
        candidates = within(centre, self._reach, self.settings.candidates, random)
        mean, root = posterior(self._points, finite(self._scores), candidates)
        # [candidates, batch]: f = μ + R ξ with R Rᵀ = Σ, one posterior draw in each column.
        draws = mean[:, None] + root @ torch.from_numpy(random.standard_normal((len(mean), self.settings.batch)))
        chosen: list[int] = []
        for column in draws.T:
            order = torch.argsort(column, stable=True).tolist()
            # A point proposed twice would be paid for twice and teach nothing.
            chosen.append(next(index for index in order if index not in chosen))
        return candidates[chosen]

    def _resize(self, *, better: bool) -> None:
        self._wins, self._losses = (self._wins + 1, 0) if better else (0, self._losses + 1)
        if self._losses == self.settings.failures:
            self._reach, self._losses = self._reach / 2, 0
            if self._reach < self.settings.least:
                self._reach = self.settings.reach
        elif self._wins == self.settings.successes:
            self._reach, self._wins = min(2 * self._reach, self.settings.reach), 0


def within(centre: Tensor, angle: float, count: int, random: np.random.Generator) -> Tensor:
    """``count`` unit vectors at angles of up to ``angle`` from ``centre`` ``[K]``, evenly in angle and in direction."""
    aside = torch.from_numpy(random.standard_normal((count, len(centre))))
    # A Gaussian projected onto the tangent space at the centre c has no preferred direction u: w = cos(a) c + sin(a) u.
    aside = aside - (aside @ centre)[:, None] * centre
    aside = aside / torch.linalg.vector_norm(aside, dim=1, keepdim=True).clamp_min(1e-12)
    turned = random.uniform(0, angle, count)
    along = torch.tensor([[cos(a), sin(a)] for a in turned], dtype=torch.float64)
    return torch.as_tensor(along[:, :1] * centre + along[:, 1:] * aside)


def posterior(points: Tensor, scores: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``[n]`` and a root ``[n, n]`` of the covariance of a Gaussian process at ``candidates``, in units of the scores.

    Its kernel is Matérn-5/2 on Euclidean distance, which on the sphere is chordal; one length scale for all axes; hyperparameters by
    maximum marginal likelihood (botorch's own priors).
    """
    import warnings

    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from gpytorch.kernels import MaternKernel, ScaleKernel
    from gpytorch.mlls import ExactMarginalLogLikelihood

    with torch.random.fork_rng(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # inputs are on a sphere, not in a cube, and repeated points are fine
        # Fitting may draw from the global generator: fixed for determinism, and given back as it was (fork_rng).
        torch.manual_seed(0)
        kernel = ScaleKernel(MaternKernel(nu=2.5))
        model: Any = SingleTaskGP(points, scores[:, None], covar_module=kernel, outcome_transform=Standardize(m=1))
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        model.eval()
        with torch.no_grad():
            found = model.posterior(candidates)
            mean, covariance = found.mean[:, 0], found.distribution.covariance_matrix
    # R = V √λ and not Cholesky's: between near candidates Σ is singular up to rounding, with small negative λ.
    values, vectors = torch.linalg.eigh(covariance)
    return mean, vectors * values.clamp_min(0).sqrt()
