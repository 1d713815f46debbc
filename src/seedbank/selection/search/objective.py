"""What is minimised: a weighted sum of small terms over what one pass of the sampler made.

A term is any callable with a name and a weight that takes a :class:`Scene` and returns one number for each image. Where terms are
balanced, the gradient of each is clipped to the length of the first one's, image by image (CARINOX), so that none can drown the concept.

Gradients are averaged over the picture and some windows of it that change from one evaluation to the next (DOODL's cutouts): what only
fools the encoder seldom does so in every view. Values are always those of the whole picture.
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
from seedbank.selection.search.views import Window, look

Decoder = Callable[[Tensor], Tensor]


class Scene:
    """The last latents of a pass and, made when first asked for, their image and its embedding."""

    def __init__(self, trail: Sequence[Tensor], decode: Decoder, encoder: Encoder) -> None:
        self.trail = tuple(trail)
        self.decode = decode
        self.encoder = encoder

    @property
    def latents(self) -> Tensor:
        """The final latents ``[B, C, h, w]``."""
        return self.trail[-1]

    @cached_property
    def images(self) -> Tensor:
        """The final images ``[B, 3, H, W]``, clamped to 0..1 with the gradient passing straight through the clamp."""
        decoded = self.decode(self.latents)
        return decoded + (decoded.clamp(0, 1) - decoded).detach()

    @cached_property
    def embeddings(self) -> Tensor:
        """The encoder's view of the final images, ``[B, D]`` of length 1."""
        return self.encoder(self.images)

    def cut(self) -> Tensor:
        """The images with their way back to the latents; from here on they are a leaf, where gradients can be read."""
        decoded = self.images
        self.__dict__["images"] = decoded.detach().requires_grad_()
        return decoded

    def through(self, window: Window) -> Scene:
        """The same with the final images seen through a window."""
        seen = Scene(self.trail, self.decode, self.encoder)
        seen.__dict__["images"] = look(self.images, window)
        return seen


class Term(Protocol):
    """One part of the objective."""

    @property
    def name(self) -> str:
        """Under which the term is reported."""

    @property
    def weight(self) -> float:
        """Its share in the sum."""

    def __call__(self, scene: Scene) -> Tensor:
        """One number for each image, ``[B]``; lower is better."""


@dataclass(frozen=True)
class Semantic:
    """One minus the nearness of the image's embedding to the references'."""

    targets: Targets
    weight: float = 1.0
    name: str = "semantic"

    def __call__(self, scene: Scene) -> Tensor:
        """In 0..2."""
        return 1 - nearness(scene.embeddings, self.targets.prototypes)


@dataclass(frozen=True)
class Away:
    """How little the image is told from what the model draws instead: a softmax over the references and the failures' centroids.

    ``-log( e^(f·c/T) / (e^(f·c/T) + Σ_m e^(f·n_m/T)) )``; nothing pulls any more once the references have won.
    """

    targets: Targets
    failures: Tensor
    """``[M, D]`` of length 1; see :func:`seedbank.selection.judging.targets.failure_centroids`."""
    weight: float = 0.25
    temperature: float = 0.07
    name: str = "contrast"

    def __call__(self, scene: Scene) -> Tensor:
        """At least 0."""
        logits = scene.embeddings @ torch.cat([self.targets.centroid[None], self.failures]).T / self.temperature
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

    def __call__(self, scene: Scene) -> Tensor:
        """Mean squared difference, in units of the latents' variance (about 1)."""
        coarse = F.adaptive_avg_pool2d(scene.latents, self.grid).flatten(1)
        wanted = F.adaptive_avg_pool2d(self.targets.latents, self.grid).flatten(1)
        distance = (coarse[:, None] - wanted[None]).square().mean(-1)
        return -self.temperature * (-distance / self.temperature).logsumexp(1) + self.temperature * log(len(wanted))


@dataclass(frozen=True)
class PaperSemantic:
    """SeedSelect's released ``L_sem``: decode each of the last latents *as they are*, cosine to the centroid, weighted sum."""

    targets: Targets
    weight: float = 10.0
    shares: tuple[float, ...] = (0.05, 0.25, 0.70)
    name: str = "semantic"

    def __call__(self, scene: Scene) -> Tensor:
        """``sum_i w_i (1 - f(z_i)·c)`` over the last ``len(shares)`` latents."""
        parts = [share * self._distance(scene, latents) for share, latents in self._last(scene)]
        return torch.stack(parts).sum(0)

    def _last(self, scene: Scene) -> list[tuple[float, Tensor]]:
        count = min(len(self.shares), len(scene.trail))
        return list(zip(self.shares[-count:], scene.trail[-count:], strict=True))

    def _distance(self, scene: Scene, latents: Tensor) -> Tensor:
        images = scene.decode(latents).clamp(0, 1)
        if images.shape[-1] != scene.encoder.size:
            images = F.interpolate(images, (scene.encoder.size,) * 2, mode="bicubic", antialias=False)
        return 1 - scene.encoder(images) @ self.targets.centroid


@dataclass(frozen=True)
class PaperAppearance:
    """SeedSelect's released ``L_app``: mean squared difference of the final latents to the *mean* of the references' latents."""

    targets: Targets
    weight: float = 1.0
    name: str = "appearance"

    def __call__(self, scene: Scene) -> Tensor:
        """In units of the latents' variance."""
        return (scene.latents - self.targets.latents.mean(0)).square().mean((1, 2, 3))


@dataclass(frozen=True)
class Objective:
    """A weighted sum of ``terms``. The first is the one the others are clipped against where ``balanced``."""

    terms: tuple[Term, ...]
    decode: Decoder
    encoder: Encoder
    trail: int = 1
    """How many of the last latents the terms look at."""
    balanced: bool = True

    @torch.no_grad()
    def score(self, latents: Tensor) -> Evaluation:
        """The objective of final latents, without gradients; the trail is taken to be all at its end."""
        return self._evaluation(Scene([latents] * self.trail, self.decode, self.encoder))

    @torch.enable_grad()
    def evaluate(self, trail: Sequence[Tensor], views: Sequence[Window] = ()) -> Evaluation:
        """The objective of a trail of latents and its gradient with respect to each of them, averaged over ``views`` too."""
        leaves = tuple(latents.detach().requires_grad_() for latents in trail)
        scene = Scene(leaves, self.decode, self.encoder)
        decoded = scene.cut() if self.balanced else None
        values = [term(scene) for term in self.terms]
        seen = [scene.through(window) for window in views]
        averaged = [self._over_views(term, value, seen) for term, value in zip(self.terms, values, strict=True)]
        if decoded is None:
            return self._evaluation(scene, values, self._plain(averaged, leaves))
        cotangents = (self._balanced(averaged, decoded, scene.images, leaves[-1]),)
        return self._evaluation(scene, values, cotangents)

    def _over_views(self, term: Term, value: Tensor, seen: Sequence[Scene]) -> Tensor:
        """A term's mean over the whole picture and its windows; the appearance of latents has but one view."""
        if not seen or _of_latents(term):
            return value
        return torch.stack([value, *(term(scene) for scene in seen)]).mean(0)

    def _evaluation(
        self, scene: Scene, values: Sequence[Tensor] | None = None, cotangents: tuple[Tensor, ...] = ()
    ) -> Evaluation:
        found = [term(scene) for term in self.terms] if values is None else values
        terms = {term.name: value.detach() for term, value in zip(self.terms, found, strict=True)}
        total = torch.stack([term.weight * terms[term.name] for term in self.terms]).sum(0)
        with torch.no_grad():
            return Evaluation(total, terms, scene.images.detach(), scene.embeddings.detach(), cotangents)

    def _plain(self, values: Sequence[Tensor], leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        total = torch.stack([term.weight * value for term, value in zip(self.terms, values, strict=True)]).sum()
        return torch.autograd.grad(total, leaves)

    def _balanced(self, values: Sequence[Tensor], decoded: Tensor, picture: Tensor, final: Tensor) -> Tensor:
        """Each term's gradient, scaled by its weight and clipped to the length of the first one's.

        What comes through the picture is clipped there, so that the sum goes back through the decoder, which is expensive, once; what comes
        from the latents themselves is clipped to what then arrives.
        """
        slopes = [torch.autograd.grad(v.sum(), (picture, final), retain_graph=True, allow_unused=True) for v in values]
        pairs = list(zip(self.terms, slopes, strict=True))
        through = [term.weight * found[0] for term, found in pairs if found[0] is not None]
        straight = [term.weight * found[1] for term, found in pairs if found[1] is not None]
        if through:
            straight.insert(0, torch.autograd.grad(decoded, final, _clipped(through))[0])
        return _clipped(straight)


def _of_latents(term: Term) -> bool:
    """Whether a term looks at the latents themselves, and has but one view of them."""
    return isinstance(term, LowFrequency | PaperAppearance)


def _clipped(gradients: Sequence[Tensor]) -> Tensor:
    """Their sum, each clipped, image by image, to the length of the first."""
    limit = norm(gradients[0])
    return torch.stack([each * (limit / norm(each).clamp_min(1e-20)).clamp_max(1) for each in gradients]).sum(0)
