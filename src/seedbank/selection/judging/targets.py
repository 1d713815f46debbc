"""What the references ask for: their embeddings, their latents, and how near they are to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.sampling.families import Family

NEAR_ENOUGH = 0.75
"""Of the references' own mean semantic loss. At all of it one in seventeen of the shipped model's images is still broken somewhere."""


class Encoder(Protocol):
    """Images to embeddings, differentiable: what :func:`seedbank.models.load_encoder` returns."""

    @property
    def size(self) -> int:
        """Side in pixels of what the network sees."""

    def __call__(self, images01: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in 0..1 to ``[B, D]`` of length 1."""

    def features(self, images01: Tensor) -> Tensor:
        """The same before the length is taken out."""


@dataclass(frozen=True)
class Targets:
    """K references in the spaces the objective works in.

    Attributes:
        prototypes: ``[K, D]``, each of length 1.
        centroid: ``[D]`` of length 1.
        latents: ``[K, C, h, w]``.
    """

    prototypes: Tensor
    centroid: Tensor
    latents: Tensor

    def leave_one_out(self) -> Tensor:
        """Nearness of each reference to the others, ``[K]``; a single reference is as near as can be (1)."""
        return leave_one_out(self.prototypes)

    @property
    def semantic_limit(self) -> float:
        """Most semantic loss that is acceptable, the references' own mean; infinite for fewer than three, which cannot say.

        What was optimised for being near must at least be as near as an ordinary photo, or optimising did not work.
        """
        return 1 - float(self.leave_one_out().mean()) if len(self.prototypes) > 2 else inf

    @property
    def semantic_goal(self) -> float:
        """Semantic loss that is near enough: well within the references' own mean. 0, out of reach, for a single one."""
        return NEAR_ENOUGH * (1 - float(self.leave_one_out().mean()))


@torch.no_grad()
def make_targets(references: Tensor, encoder: Encoder, family: Family, *, match_codec: bool = True) -> Targets:
    """Targets from references ``[K, 3, H, W]`` in 0..1.

    With ``match_codec`` the references go through the model's image codec once, so that embeddings of references and of generated
    images do not differ by what the codec loses. Each embedding is normalised *before* averaging.
    """
    prototypes = encoder(through_codec(references, family) if match_codec else references)
    # latents of the photos themselves: after the codec they would be encoded twice and lose twice
    return Targets(prototypes, F.normalize(prototypes.mean(0), dim=0), family.encode(references))


@torch.no_grad()
def through_codec(images01: Tensor, family: Family) -> Tensor:
    """Images as the model's image codec gives them back: how a generated image of the same thing would look."""
    return family.decode(family.encode(images01)).clamp(0, 1)


@torch.no_grad()
def make_paper_targets(references: Tensor, encoder: Encoder, family: Family) -> Targets:
    """Targets as in SeedSelect's released code: centroid of *un-normalised* features, latents sampled from the posterior, no codec."""
    features = encoder.features(references)
    # a fixed seed: targets made again must be the same
    latents = family.encode(references, torch.Generator(family.device).manual_seed(0))
    return Targets(F.normalize(features, dim=-1), F.normalize(features.mean(0), dim=0), latents)


def nearness(embeddings: Tensor, prototypes: Tensor, *, mix: float = 0.5, temperature: float = 0.05) -> Tensor:
    """How near ``[B, D]`` is to the K prototypes, ``[B]``, at most 1: half the centroid's cosine, half a soft nearest prototype.

    ``mix·f·c + (1 - mix)·T·log mean_j exp(f·p_j / T)``; with one prototype it is the cosine.
    """
    # Far from all of them the centroid still pulls; near them the nearest one does, which no mean of unlike photos resembles.
    centroid = F.normalize(prototypes.mean(0), dim=0)
    similarity = embeddings @ prototypes.T
    # the mean of the exponentials, not their sum: at most the nearest cosine, however many references
    nearest = temperature * ((similarity / temperature).logsumexp(1) - log(len(prototypes)))
    return mix * embeddings @ centroid + (1 - mix) * nearest


def leave_one_out(prototypes: Tensor) -> Tensor:
    """:func:`nearness` of each prototype to all others, ``[K]``."""
    count = len(prototypes)
    if count == 1:
        return prototypes.new_ones(1)
    others = [torch.cat([prototypes[:j], prototypes[j + 1 :]]) for j in range(count)]
    return torch.cat([nearness(prototypes[j : j + 1], rest) for j, rest in enumerate(others)])


def failure_centroids(embeddings: Tensor, targets: Targets, *, most: int = 4) -> Tensor:
    """What plain seeds give instead of the references, ``[M, D]`` of length 1, at most ``most`` of them and maybe none.

    Args:
        embeddings: of plain images under the objective's encoder, ``[n, D]``.
        targets: the references.
        most: clusters asked for, as by k-means over the worse half of the images.

    A centroid counts only where it is further from the references than the worst reference is from the others: what a model draws
    right, if not as in the photos, is no failure.
    """
    # 1. The worse half; 2. what it is made of; 3. without what is as near as a reference is.
    near = nearness(embeddings, targets.prototypes)
    worse = embeddings[near.argsort(stable=True)[: len(near) // 2]]
    if not len(worse):
        return worse
    centroids = _k_means(worse, min(most, len(worse)))
    return centroids[nearness(centroids, targets.prototypes) < targets.leave_one_out().min()]


def _k_means(points: Tensor, count: int, rounds: int = 10) -> Tensor:
    """Spherical k-means from points far apart; deterministic."""
    # farthest-point start (Gonzalez 1985): next is always the one least like all chosen; no randomness
    chosen = [0]
    while len(chosen) < count:
        chosen.append(int((points @ points[chosen].T).amax(1).argmin()))
    centroids = points[chosen]
    for _ in range(rounds):
        nearest = (points @ centroids.T).argmax(1)
        # an empty cluster keeps its centroid
        means = [points[nearest == k].mean(0) if bool((nearest == k).any()) else centroids[k] for k in range(count)]
        centroids = F.normalize(torch.stack(means), dim=1)
    return centroids


def stack_images(images: Sequence[Image.Image], height: int, width: int) -> Tensor:
    """Photos of any size to ``[K, 3, height, width]`` in 0..1: upright, RGB, scaled to cover and cropped at the centre.

    Raises:
        UsageError: there are none, or one has values of an unknown range, NaN among them.
    """
    if not images:
        raise UsageError("expected at least one reference photo, got none; add photos of the concept and validate them")
    fitted = [ImageOps.fit(_rgb(image), (width, height), Image.Resampling.BICUBIC) for image in images]
    pixels = np.stack([np.asarray(image, np.float32) for image in fitted]) / 255
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _rgb(image: Image.Image) -> Image.Image:
    """Upright and without alpha: what was transparent becomes white. 16 bits become 8."""
    if image.mode in ("I", "F"):
        raise UsageError(
            f"expected a photo of 8 or 16 bits a channel, got one in mode {image.mode!r}, whose white is unknown; convert it to RGB"
        )
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        # 65535 = 257·255: white stays white
        return Image.fromarray((np.asarray(upright, np.uint32) // 257).astype(np.uint8)).convert("RGB")
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    layered = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
