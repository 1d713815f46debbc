"""The guard: a model outside the objective that must agree, and a check that nothing is a copy of a reference.

Its threshold comes from the references alone: how near each of them is to the others. It uses no labels, no generated images and no
auditor, so it can be had for any concept a user brings photos of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbank.selection.targets import leave_one_out, nearness

Embed = Callable[[Tensor], Tensor]
"""``[B, 3, H, W]`` in 0..1 to ``[B, D]`` of length 1."""

COPY_FLOOR = 0.95
"""Thumbnails that correlate less than this are not copies, however different the references are from each other."""
LEAST_SPREAD = 0.03
"""A few references can be more alike than the kind they stand for."""
_THUMBNAIL = 32


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
    """

    embed: Embed
    prototypes: Tensor
    near: Tensor
    threshold: float
    thumbnails: Tensor
    copy_limit: float

    @torch.no_grad()
    def similarity(self, images01: Tensor) -> Tensor:
        """Nearness of each image to the references, ``[B]``, at most 1."""
        return nearness(self.embed(images01), self.prototypes)

    @torch.no_grad()
    def copy_score(self, images01: Tensor) -> Tensor:
        """Highest correlation of each image's grey thumbnail, plain or mirrored, with any reference's, ``[B]``."""
        plain, mirrored = _thumbnails(images01), _thumbnails(images01.flip(-1))
        return torch.maximum((plain @ self.thumbnails.T).amax(1), (mirrored @ self.thumbnails.T).amax(1))


@torch.no_grad()
def make_guard(references: Tensor, embed: Embed, *, seen: Tensor | None = None, slack: float = 3.0) -> Guard:
    """A guard from references ``[K, 3, H, W]`` in 0..1.

    Args:
        references: the photos, for the copy check.
        embed: the guard's embedding.
        seen: the photos as the image codec gives them back, which is how generated images look; default ``references``.
        slack: standard deviations below the mean leave-one-out nearness that are still acceptable.
    """
    prototypes = embed(references if seen is None else seen)
    near = leave_one_out(prototypes)
    thumbnails = _thumbnails(references)
    return Guard(
        embed=embed,
        prototypes=prototypes,
        near=near,
        threshold=float(near.mean()) - slack * spread(near),
        thumbnails=thumbnails,
        copy_limit=max(COPY_FLOOR, _closest_pair(thumbnails)),
    )


def spread(near: Tensor) -> float:
    """Standard deviation of the references' own nearness; at least :data:`LEAST_SPREAD`, which is also that of a single one."""
    return max(float(near.std()) if len(near) > 1 else 0.0, LEAST_SPREAD)


def _thumbnails(images01: Tensor) -> Tensor:
    """Small grey pictures without brightness and contrast, as unit vectors ``[B, n]``."""
    grey = images01.clamp(0, 1).mean(1, keepdim=True)
    small = F.interpolate(grey, (_THUMBNAIL, _THUMBNAIL), mode="area").flatten(1)
    return F.normalize(small - small.mean(1, keepdim=True), dim=1)


def _closest_pair(thumbnails: Tensor) -> float:
    """The highest correlation between two different references; 0 for a single one."""
    if len(thumbnails) == 1:
        return 0.0
    pairs = thumbnails @ thumbnails.T
    return float(pairs.masked_fill(torch.eye(len(pairs), dtype=torch.bool), -1).max())
