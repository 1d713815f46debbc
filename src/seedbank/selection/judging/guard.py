"""The guard: a model outside the objective that must agree, and a check that nothing is a copy of a reference.

It asks two questions of an image. Is it as near the references as they are to each other? And, once plain seeds have been explored, is it
nearer to the references than to what the model draws instead? The first alone lets a tiger pass for a tiger cat, and turns away what is
plainly with the references and only a little further off than photos are. Neither uses labels or an auditor, so a guard can be had for
any concept a user brings photos of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.judging.targets import leave_one_out, nearness

Embed = Callable[[Tensor], Tensor]
"""``[B, 3, H, W]`` in 0..1 to ``[B, D]`` of length 1."""

COPY_FLOOR = 0.95
"""Thumbnails that correlate less than this are not copies, however different the references are from each other."""
LEAST_SPREAD = 0.03
"""A few references can be more alike than the kind they stand for."""
LEAST_FAILURES = 8
"""Fewer plain images unlike the references do not say what the model draws instead."""
LEAST_SEPARABILITY = 0.75
"""Share of the references that must fall on their own side when left out, or the two sides are not two things."""
SHRINKAGE = 0.3
"""Of the covariance towards a multiple of the identity: a few references say little about 128 directions."""
DEPTH = 0.25
"""What the contrast counts in nearness: how far below the threshold an image is held that is wholly what the model draws instead, and
how far one is lifted that is wholly like the references."""
QUARTERS = 4
"""Quarter turns in a whole one."""
_THUMBNAIL = 32


@dataclass(frozen=True)
class Contrast:
    """Fisher's linear discriminant between the references and what plain seeds give instead.

    Attributes:
        direction: ``[D]``, scaled so that :meth:`side` is 1 at the references' mean and -1 at the failures'.
        middle: what lies halfway.
        failures: how many plain images it rests on.
    """

    direction: Tensor
    middle: float
    failures: int

    def side(self, embeddings: Tensor) -> Tensor:
        """``[B]``: positive on the references' side."""
        return embeddings @ self.direction - self.middle


@dataclass(frozen=True)
class Guard:
    """The judge of one reference set.

    Attributes:
        embed: the guard's embedding.
        prototypes: ``[K, D]`` of the references.
        near: nearness of each reference to the others, ``[K]``.
        threshold: nearness that an acceptable image has at least.
        thumbnails: ``[K, n]``, unit vectors for the copy check.
        copy_limit: correlation at which an image counts as a copy.
        contrast: the second question; None where it cannot be asked.
    """

    embed: Embed
    prototypes: Tensor
    near: Tensor
    threshold: float
    thumbnails: Tensor
    copy_limit: float
    contrast: Contrast | None = None

    @torch.no_grad()
    def similarity(self, images01: Tensor) -> Tensor:
        """Nearness of each image to the references, ``[B]``, at most 1; see :meth:`judge`."""
        return self.judge(self.embed(images01))

    def judge(self, embeddings: Tensor) -> Tensor:
        """Nearness ``[B]`` of embeddings ``[B, D]``, corrected by the contrast where there is one.

        On the failures' side it is held below the threshold. More than half way from the middle to the references' own mean, what falls
        short of the threshold is lifted towards it, and no further.
        """
        # 1. As near the references as they are to each other?
        near = nearness(embeddings, self.prototypes)
        if self.contrast is None:
            return near
        # 2. Nearer to the references than to the failures? Plainly so, a little that is missing is forgiven: images are never quite as
        # near as photos. Not so, no nearness helps: min(n, θ + DEPTH·s) < θ for a side s < 0.
        level = torch.full_like(near, self.threshold)
        just_enough = level.nextafter(torch.full_like(near, torch.inf))  # whatever rounding did to the threshold
        side = self.contrast.side(embeddings)
        lifted = torch.maximum(near, torch.minimum(near + DEPTH * (2 * side - 1).clamp(0, 1), just_enough))
        return torch.where(side < 0, torch.minimum(near, level + DEPTH * side), lifted)

    def against(self, plain: Tensor) -> Guard:
        """This guard with a contrast to what plain seeds give instead, from their embeddings ``[n, D]``.

        Failures are those of the worse half that are further from the references than any reference is from the others. Without
        enough of them, or where the references cannot be told from them, there is none to be had and the guard stays as it is.
        """
        # A pool may hold the thing itself, so only what is clearly something else stands for the failures.
        near = nearness(plain, self.prototypes)
        failures = plain[(near < self.near.min()) & (near <= near.median())]
        if len(failures) < LEAST_FAILURES or _separability(self.prototypes, failures) < LEAST_SEPARABILITY:
            return replace(self, contrast=None)
        return replace(self, contrast=_contrast(self.prototypes, failures))

    @torch.no_grad()
    def copy_score(self, images01: Tensor) -> Tensor:
        """Highest correlation of each image's grey thumbnail, whichever way it is turned or mirrored, with any reference's, ``[B]``."""
        small = _thumbnails(images01).view(-1, _THUMBNAIL, _THUMBNAIL)
        # The eight symmetries of the square; thumbnails are unit vectors without their mean, so a product is Pearson's correlation.
        symmetries = [each.rot90(k, (1, 2)).flatten(1) for each in (small, small.flip(-1)) for k in range(QUARTERS)]
        return (torch.stack(symmetries) @ self.thumbnails.T).amax((0, 2))


@torch.no_grad()
def make_guard(
    references: Tensor, embed: Embed, *, seen: Tensor | None = None, slack: float = 3.0, turns: int = QUARTERS
) -> Guard:
    """A guard from references ``[K, 3, H, W]`` in 0..1.

    Args:
        references: the photos, for the copy check.
        embed: the guard's embedding.
        seen: the photos as the image codec gives them back, which is how generated images look; default ``references``.
        slack: standard deviations below the mean leave-one-out nearness that are still acceptable.
        turns: orientations in which every image is looked at, see :func:`turned`.
    """
    embed = turned(embed, turns)
    prototypes = embed(references if seen is None else seen)
    near = leave_one_out(prototypes)
    thumbnails = _thumbnails(references)
    return Guard(
        embed=embed,
        prototypes=prototypes,
        near=near,
        # θ = mean - slack·deviation of the references' own nearness, each to the others.
        threshold=float(near.mean()) - slack * spread(near),
        thumbnails=thumbnails,
        copy_limit=max(COPY_FLOOR, _closest_pair(thumbnails)),
    )


def turned(embed: Embed, turns: int) -> Embed:
    """The embedding averaged over orientations: what is the same thing whichever way it lies is told from what is another thing.

    Args:
        embed: an embedding.
        turns: 4 for all quarter turns, 2 for upright and upside down, 1 for things that are seen upright.

    Raises:
        UsageError: another number.
    """
    if turns not in (1, 2, QUARTERS):
        raise UsageError(f"expected 1, 2 or {QUARTERS} turns of an image, got {turns}")
    if turns == 1:
        return embed
    quarters = range(0, QUARTERS, QUARTERS // turns)

    def averaged(images: Tensor) -> Tensor:
        return F.normalize(torch.stack([embed(images.rot90(k, (-2, -1))) for k in quarters]).mean(0), dim=1)

    return averaged


def _contrast(prototypes: Tensor, failures: Tensor) -> Contrast:
    """``w = S⁻¹ (m_r - m_f)`` with the shrunk within-class covariance S (Fisher 1936; Ledoit & Wolf 2004).

    Fisher, "The use of multiple measurements in taxonomic problems"; Ledoit & Wolf, "A well-conditioned estimator for large-dimensional
    covariance matrices", whose target, a multiple of the identity, is taken with a fixed weight.
    """
    wanted, unwanted = prototypes.mean(0), failures.mean(0)
    # S = 1/n Σ (x - m_class)(x - m_class)ᵀ + λ·mean(diag)·I
    scatter = torch.cat([prototypes - wanted, failures - unwanted])
    covariance = scatter.T @ scatter / len(scatter)
    # embeddings that are all alike have no covariance: the clamp keeps S invertible
    ridge = SHRINKAGE * covariance.diagonal().mean().clamp_min(1e-8) * torch.eye(len(wanted)).to(covariance)
    direction = torch.linalg.solve(covariance + ridge, wanted - unwanted)
    # Scaled so that w·m_r - middle = 1 and w·m_f - middle = -1.
    direction = direction / ((wanted - unwanted) @ direction / 2).clamp_min(1e-12)
    return Contrast(direction, float((wanted + unwanted) @ direction / 2), len(failures))


def _separability(prototypes: Tensor, failures: Tensor) -> float:
    """Share of the references that fall on the references' side of a contrast made without them; 1 for a single one."""
    if len(prototypes) == 1:
        return 1.0
    # made without the one that is asked: fitted to itself, any reference would fall on its own side
    rest = [torch.cat([prototypes[:j], prototypes[j + 1 :]]) for j in range(len(prototypes))]
    sides = [_contrast(others, failures).side(prototypes[j : j + 1]) for j, others in enumerate(rest)]
    return float((torch.cat(sides) > 0).float().mean())


def spread(near: Tensor) -> float:
    """Standard deviation of the references' own nearness; at least :data:`LEAST_SPREAD`, which is also that of a single one."""
    return max(float(near.std()) if len(near) > 1 else 0.0, LEAST_SPREAD)


def _thumbnails(images01: Tensor) -> Tensor:
    """Small grey images without brightness and contrast, as unit vectors ``[B, n]``."""
    grey = images01.clamp(0, 1).mean(1, keepdim=True)
    # area: every pixel counts, so grain averages out instead of aliasing
    small = F.interpolate(grey, (_THUMBNAIL, _THUMBNAIL), mode="area").flatten(1)
    return F.normalize(small - small.mean(1, keepdim=True), dim=1)


def _closest_pair(thumbnails: Tensor) -> float:
    """The highest correlation between two different references; 0 for a single one."""
    if len(thumbnails) == 1:
        return 0.0
    pairs = thumbnails @ thumbnails.T
    return float(pairs.masked_fill(torch.eye(len(pairs), dtype=torch.bool, device=pairs.device), -1).max())
