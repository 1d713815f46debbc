"""What is minimised: a weighted sum of small terms over what one pass of the sampler made.

A term is any callable with a name and a weight that takes :class:`Samples` and returns one number for each image. Where terms are
balanced, the gradient of each is clipped to the length of the first one's, image by image (CARINOX), so that none can drown the concept.

Gradients are averaged over the image and some cutouts of it that change from one evaluation to the next (DOODL): what only fools the
encoder seldom does so in every cutout. Values are always those of the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbank.selection.judging.targets import Encoder, Targets, nearness
from seedbank.selection.sampling.gradients import Evaluation
from seedbank.selection.sampling.sphere import norm
from seedbank.selection.search.cutouts import Cutout, crop

Decoder = Callable[[Tensor], Tensor]


class Samples:
    """A batch of what a pass of the sampler made: its last latents and, computed when first asked for, their images and embeddings."""

    def __init__(
        self, last_latents: Sequence[Tensor], decode: Decoder, encoder: Encoder, *, images: Tensor | None = None
    ) -> None:
        self.last_latents = tuple(last_latents)
        self.decode = decode
        self.encoder = encoder
        if images is not None:
            self.__dict__["images"] = images  # in the place of the cached property

    @property
    def latents(self) -> Tensor:
        """The final latents ``[B, C, h, w]``."""
        return self.last_latents[-1]

    @cached_property
    def images(self) -> Tensor:
        """The final images ``[B, 3, H, W]``, clamped to 0..1 with the gradient passing straight through the clamp."""
        decoded = self.decode(self.latents)
        # Straight-through estimator (Bengio et al., arXiv 1308.3432): a clamp's own gradient is 0 at a saturated pixel, which
        # could then never come back.
        return decoded + (decoded.clamp(0, 1) - decoded).detach()

    @cached_property
    def embeddings(self) -> Tensor:
        """Of the final images, by the encoder, ``[B, D]`` of length 1."""
        return self.encoder(self.images)

    def detach_images(self) -> Tensor:
        """Make the images a leaf, at which gradients can be read; the images with their graph back to the latents are returned."""
        decoded = self.images
        self.__dict__["images"] = decoded.detach().requires_grad_()
        return decoded

    def cropped(self, cutout: Cutout) -> Samples:
        """The same samples with a cutout of each image in its place."""
        return Samples(self.last_latents, self.decode, self.encoder, images=crop(self.images, cutout))


class Term(Protocol):
    """One part of the objective."""

    @property
    def name(self) -> str:
        """Under which the term is reported."""

    @property
    def weight(self) -> float:
        """Its share in the sum."""

    def __call__(self, samples: Samples) -> Tensor:
        """One number for each image, ``[B]``; lower is better."""


@dataclass(frozen=True)
class Semantic:
    """One minus the nearness of the image's embedding to the references'."""

    targets: Targets
    weight: float = 1.0
    name: str = "semantic"

    def __call__(self, samples: Samples) -> Tensor:
        """In 0..2."""
        return 1 - nearness(samples.embeddings, self.targets.prototypes)


@dataclass(frozen=True)
class Contrastive:
    """InfoNCE of the image's embedding between the references' centroid c and the centroids n of what the model draws instead.

    ``-log( e^(f·c/T) / (e^(f·c/T) + Σ_m e^(f·n_m/T)) )``; nothing pulls any more once the references have won.
    """

    targets: Targets
    failures: Tensor
    """``[M, D]`` of length 1; see :func:`seedbank.selection.judging.targets.failure_centroids`."""
    weight: float = 0.25
    temperature: float = 0.07
    name: str = "contrast"

    def __call__(self, samples: Samples) -> Tensor:
        """At least 0."""
        # [B, 1 + M]; column 0 is the references' centroid, the class that should win.
        logits = samples.embeddings @ torch.cat([self.targets.centroid[None], self.failures]).T / self.temperature
        return -logits.log_softmax(1)[:, 0]


@dataclass(frozen=True)
class LowFrequency:
    """Distance of the coarse latents to the nearest reference's: overall colour and layout, and nothing finer.

    The softly nearest reference, never the mean of all, which is a grey blur.
    """

    targets: Targets
    weight: float = 0.1
    grid: int = 4
    """Latents are averaged down to ``grid`` x ``grid``."""
    temperature: float = 0.1
    name: str = "appearance"

    def __call__(self, samples: Samples) -> Tensor:
        """Mean squared difference, in units of the latents' variance (about 1)."""
        # [B, C g²] and [K, C g²], so distances are [B, K].
        coarse = F.adaptive_avg_pool2d(samples.latents, self.grid).flatten(1)
        wanted = F.adaptive_avg_pool2d(self.targets.latents, self.grid).flatten(1)
        distance = (coarse[:, None] - wanted[None]).square().mean(-1)
        # Soft minimum over the K references, -T log(1/K Σ_k e^(-d_k/T)): between the least distance and the mean of all.
        return -self.temperature * (-distance / self.temperature).logsumexp(1) + self.temperature * log(len(wanted))


@dataclass(frozen=True)
class PaperSemantic:
    """SeedSelect's released ``L_sem``: decode each of the last latents *as they are*, cosine to the centroid, weighted sum."""

    targets: Targets
    weight: float = 10.0
    shares: tuple[float, ...] = (0.05, 0.25, 0.70)
    name: str = "semantic"

    def __call__(self, samples: Samples) -> Tensor:
        """``sum_i w_i (1 - f(z_i)·c)`` over the last ``len(shares)`` latents."""
        parts = [share * self._distance(samples, latents) for share, latents in self._last(samples)]
        return torch.stack(parts).sum(0)

    def _last(self, samples: Samples) -> list[tuple[float, Tensor]]:
        count = min(len(self.shares), len(samples.last_latents))
        return list(zip(self.shares[-count:], samples.last_latents[-count:], strict=True))

    def _distance(self, samples: Samples, latents: Tensor) -> Tensor:
        images = samples.decode(latents).clamp(0, 1)
        if images.shape[-1] != samples.encoder.size:
            images = F.interpolate(images, (samples.encoder.size,) * 2, mode="bicubic", antialias=False)
        return 1 - samples.encoder(images) @ self.targets.centroid


@dataclass(frozen=True)
class PaperAppearance:
    """SeedSelect's released ``L_app``: mean squared difference of the final latents to the *mean* of the references' latents."""

    targets: Targets
    weight: float = 1.0
    name: str = "appearance"

    def __call__(self, samples: Samples) -> Tensor:
        """In units of the latents' variance."""
        return (samples.latents - self.targets.latents.mean(0)).square().mean((1, 2, 3))


@dataclass(frozen=True)
class Objective:
    """A weighted sum of ``terms``. The first is the one the others are clipped against where ``balanced``."""

    terms: tuple[Term, ...]
    decode: Decoder
    encoder: Encoder
    last_steps: int = 1
    """Of how many of the last steps the terms look at the latents."""
    balanced: bool = True

    @torch.no_grad()
    def score(self, latents: Tensor, images: Tensor | None = None) -> Evaluation:
        """The objective of final latents, without gradients; those of the steps before are taken to be the same.

        ``images`` ``[B, 3, H, W]`` are theirs where they are decoded already.
        """
        samples = Samples([latents] * self.last_steps, self.decode, self.encoder, images=images)
        return self._evaluation(samples, [term(samples) for term in self.terms])

    @torch.enable_grad()
    def evaluate(self, last_latents: Sequence[Tensor], cutouts: Sequence[Cutout] = ()) -> Evaluation:
        """The objective of the latents after the last steps and its gradient with respect to each, averaged over ``cutouts`` too."""
        # 1. Values of the whole images.
        # Cut off from the sampler: how a gradient gets from here to the noise is the gradient mode's business.
        leaves = tuple(latents.detach().requires_grad_() for latents in last_latents)
        samples = Samples(leaves, self.decode, self.encoder)
        decoded = samples.detach_images() if self.balanced else None
        values = [term(samples) for term in self.terms]

        # 2. What is differentiated: the mean over the image and its cutouts.
        cropped = [samples.cropped(cutout) for cutout in cutouts]
        averaged = [_over_cutouts(term, value, cropped) for term, value in zip(self.terms, values, strict=True)]

        # 3. Gradients at the latents, of the plain sum or term by term.
        if decoded is None:
            return self._evaluation(samples, values, self._summed_gradient(averaged, leaves))
        gradient = self._balanced_gradient(averaged, decoded=decoded, images=samples.images, final=leaves[-1])
        return self._evaluation(samples, values, (gradient,))

    def _evaluation(
        self, samples: Samples, values: Sequence[Tensor], cotangents: tuple[Tensor, ...] = ()
    ) -> Evaluation:
        terms = {term.name: value.detach() for term, value in zip(self.terms, values, strict=True)}
        total = torch.stack([term.weight * terms[term.name] for term in self.terms]).sum(0)
        # No graph for embeddings that no term asked for and that are computed only here.
        with torch.no_grad():
            return Evaluation(total, terms, samples.images.detach(), samples.embeddings.detach(), cotangents)

    def _summed_gradient(self, values: Sequence[Tensor], leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # Summed over the batch as well: images do not depend on each other, so each still gets its own gradient.
        total = torch.stack([term.weight * value for term, value in zip(self.terms, values, strict=True)]).sum()
        return torch.autograd.grad(total, leaves)

    def _balanced_gradient(self, values: Sequence[Tensor], *, decoded: Tensor, images: Tensor, final: Tensor) -> Tensor:
        """Each term's gradient, scaled by its weight and clipped to the length of the first one's.

        What comes through the images is clipped there, so that the sum goes back through the decoder, which is expensive, once; what comes
        from the latents themselves is clipped to what then arrives.
        """
        # The graph is kept because terms share the encoder's pass; a term may look at images only, or at latents only. The first one's
        # comes last and lets it go: the decoder's way back is the peak of an iteration's memory.
        gradients = [
            torch.autograd.grad(values[row].sum(), (images, final), retain_graph=row > 0, allow_unused=True)
            for row in reversed(range(len(values)))
        ][::-1]
        weighted = list(zip(self.terms, gradients, strict=True))
        at_images = [term.weight * at_image for term, (at_image, _) in weighted if at_image is not None]
        at_latents = [term.weight * at_latent for term, (_, at_latent) in weighted if at_latent is not None]
        if at_images:
            # In front, since the first of a list sets the limit for the others.
            at_latents.insert(0, torch.autograd.grad(decoded, final, _clipped(at_images))[0])
        return _clipped(at_latents)


def _over_cutouts(term: Term, value: Tensor, cropped: Sequence[Samples]) -> Tensor:
    """A term's mean over the whole image and its cutouts; a term of the latents themselves has nothing to crop."""
    if not cropped or isinstance(term, LowFrequency | PaperAppearance):
        return value
    return torch.stack([value, *(term(samples) for samples in cropped)]).mean(0)


def _clipped(gradients: Sequence[Tensor]) -> Tensor:
    """Their sum, each clipped, image by image, to the length of the first."""
    limit = norm(gradients[0])
    # g_i min(1, |g_1| / |g_i|); the floor keeps a gradient of zero from becoming 0 / 0.
    return torch.stack([each * (limit / norm(each).clamp_min(1e-20)).clamp_max(1) for each in gradients]).sum(0)
