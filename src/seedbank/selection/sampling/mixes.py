"""New white noise out of old: mixes of several seeds, and neighbours of one.

A weighted sum of independent Gaussian vectors, divided by the length of the weights, is again Gaussian (Bodin et al., "Linear combinations
of latents", arXiv 2408.08558). So the unit sphere of K weights is a K - 1 dimensional world of seeds in which black-box search works,
where it fails among the thousands of raw dimensions. Every function gives exactly the length asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np
import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.sampling.noise import draws
from seedbank.selection.sampling.sphere import norm
from seedbank.selection.seeds import Lineage, Seed

NEARLY_ORTHOGONAL = 0.05
"""Elites whose largest cosine is above this are whitened. Plain seeds of d values have cosines of about 1/sqrt(d)."""


@dataclass(frozen=True)
class Basis:
    """K elite seeds as axes of a small world of mixes.

    Attributes:
        axes: ``[K, d]`` float64, of length 1 and nearly orthogonal.
        length: Euclidean length of every mix: the mean of the elites' own.
        shape: (C, h, w) of a seed.
    """

    axes: Tensor
    length: float
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, elites: Tensor) -> Self:
        """The basis of elites ``[K, C, h, w]``.

        Raises:
            UsageError: fewer than two, or they do not point in K different directions.
        """
        if len(elites) < 2:
            raise UsageError(f"expected at least 2 elite seeds to mix, got {len(elites)}; explore more seeds first")
        # float64 on the CPU: a mix depends on no accelerator's arithmetic
        flat = elites.detach().cpu().double().flatten(1)
        lengths = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
        channels, height, width = elites.shape[1:]
        return cls(_whitened(flat / lengths), float(lengths.mean()), (channels, height, width))

    def mix(self, weights: Tensor) -> Tensor:
        """``r · norm(Σ w_k e_k)`` for each row of ``weights`` ``[q, K]``: seeds ``[q, C, h, w]``, float32 on the CPU.

        The length of a row does not matter, only its direction.
        """
        # [q, K] @ [K, d]
        summed = weights.double() @ self.axes
        summed = self.length * summed / torch.linalg.vector_norm(summed, dim=1, keepdim=True)
        return torch.as_tensor(summed.float().view(-1, *self.shape))


def _whitened(axes: Tensor) -> Tensor:
    """``axes``, or where two of them are closer than :data:`NEARLY_ORTHOGONAL` the nearest orthonormal ones, ``G^(-1/2) E``."""
    gram = axes @ axes.T
    if float((gram - torch.eye(len(gram), dtype=gram.dtype)).abs().max()) <= NEARLY_ORTHOGONAL:
        return axes
    # Löwdin's symmetric orthogonalisation: unlike Gram-Schmidt it favours no elite. Eigenvalues ascend: the first is the least
    values, vectors = torch.linalg.eigh(gram)
    if float(values[0]) < 1e-6:
        raise UsageError("expected elite seeds in different directions, got two that are the same or a mix of others")
    return torch.as_tensor(vectors @ torch.diag(values.rsqrt()) @ vectors.T @ axes)


def neighbours(centre: Tensor, across: Tensor, cosine: float | Tensor) -> Tensor:
    """Seeds at an exact angle from others: ``c·z + sqrt(1 - c²)·ξ⊥``, where ξ⊥ is ``across`` made orthogonal to z and as long.

    Args:
        centre: z, ``[B, C, h, w]``, or ``[1, C, h, w]`` for all of ``across``; its length is kept.
        across: ξ, ``[B, C, h, w]``, of any length.
        cosine: c, one number or ``[B]``.
    """
    z, direction = centre.double().expand_as(across), across.double()
    length = norm(z)
    # 1. ξ⊥: ξ without its component along z, then as long as z
    direction = direction - z * ((direction * z).flatten(1).sum(1).view(-1, 1, 1, 1) / length.square())
    direction = direction * (length / norm(direction))
    # 2. by the angle arccos c along the great circle; a c above 1 by rounding is 1
    rho = torch.as_tensor(cosine, dtype=torch.float64, device=z.device).view(-1, 1, 1, 1)
    moved = rho * z + (1 - rho.square()).clamp_min(0).sqrt() * direction
    # 3. as long as z in exact arithmetic already: only rounding is taken back
    return torch.as_tensor((moved * (length / norm(moved))).float())


def repelled(root: str, indices: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """Directions ``[B, C, h, w]`` that point apart: antithetic pairs, each pair orthogonal to all others of the batch.

    Directions 2i and 2i + 1 are opposite, made from draw ``i`` below ``root``. As long as a seed is; only direction counts for
    :func:`neighbours`. Beyond d different draws orthogonality cannot hold, and the draws are left as they are.
    """
    sources = sorted({index // 2 for index in indices})
    drawn = draws(root, sources, shape).double()
    size = drawn[0].numel()
    if 1 < len(sources) <= size:
        # columns [d, B/2]; with R's diagonal made positive Q is unique and evenly distributed (Mezzadri, arXiv math-ph/0609050)
        orthogonal, triangle = torch.linalg.qr(drawn.flatten(1).T)
        signs = torch.diagonal(triangle).sign()
        drawn = (orthogonal * signs * sqrt(size)).T.reshape(drawn.shape)
    rows = torch.stack([drawn[sources.index(index // 2)] * (-1 if index % 2 else 1) for index in indices])
    return rows.float()


def on_sphere(count: int, dimensions: int, random: np.random.Generator) -> Tensor:
    """``count`` points ``[count, dimensions]`` spread evenly at random over the unit sphere, float64."""
    # a Gaussian has no preferred direction, so its direction is uniform
    points = torch.from_numpy(random.standard_normal((count, dimensions)))
    return torch.as_tensor(points / torch.linalg.vector_norm(points, dim=1, keepdim=True))


def mixed(elites: Sequence[Seed], weights: Tensor, recipe: str) -> tuple[Lineage, ...]:
    """Lineages of mixes: all elites are parents, the weights are in the note."""
    parents = tuple(seed.digest for seed in elites)
    notes = ["weights " + " ".join(f"{weight:.6g}" for weight in row) for row in weights.tolist()]
    return tuple(Lineage(kind="mix", parents=parents, recipe=recipe, note=note) for note in notes)
