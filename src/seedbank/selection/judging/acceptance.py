"""Acceptance: the one rule by which an image is let through, and why it was not.

An image is accepted when

1. the guard finds it near enough to the references, and on their side of what plain seeds draw instead (:mod:`.guard`);
2. the objective's encoder agrees: its semantic loss is at most the references' own mean, so what was optimised for being near is at
   least as near as an ordinary photo;
3. the guard finds it no further from the references than the image of the seed it came from;
4. it is no copy of a reference.

Searching, expanding, diagnosing and comparing methods all ask here, and :func:`make_acceptance` is the only place where the rule is put
together from photos, a model, judges and a recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from seedbank.selection.judging.guard import Embed, Guard, make_guard
from seedbank.selection.judging.targets import (
    Encoder,
    Targets,
    make_paper_targets,
    make_targets,
    nearness,
    through_codec,
)
from seedbank.selection.sampling.families import Family

ROUNDING = 2e-3
"""The guard's word on two drawings of one seed may differ by this: one drawn in a batch, the other alone and rounded to 8 bits."""


class Criteria(Protocol):
    """What of a recipe decides acceptance; :class:`seedbank.selection.Recipe` has it."""

    @property
    def objective(self) -> Literal["soft_nearest", "paper"]:
        """The paper's losses set no semantic limit."""

    @property
    def match_codec(self) -> bool:
        """Whether references pass through the model's image codec before the encoder sees them."""

    @property
    def guard_slack(self) -> float:
        """See :func:`~seedbank.selection.judging.guard.make_guard`."""

    @property
    def guard_turns(self) -> int:
        """Orientations in which the guard looks at an image."""


@dataclass(frozen=True)
class Judgement:
    """What acceptance says of one image.

    Attributes:
        guard: nearness to the references under the guard, contrast included, at most 1.
        needed: the nearness that was asked for.
        semantic: semantic loss under the objective's encoder, 0..2.
        copy_score: highest correlation with a reference, -1..1.
        refusals: every rule that it breaks, each in words; none for an accepted image.
        guard_embedding: ``[G]``, as the guard sees it.
    """

    guard: float
    needed: float
    semantic: float
    copy_score: float
    refusals: tuple[str, ...]
    guard_embedding: Tensor = field(repr=False, compare=False)

    @property
    def accepted(self) -> bool:
        """Whether it breaks no rule."""
        return not self.refusals

    @property
    def explanation(self) -> str:
        """All refusals, or that it is accepted, with the numbers."""
        return "; ".join(self.refusals) or f"accepted: nearness {self.guard:.3f} >= {self.needed:.3f}"


@dataclass(frozen=True)
class Acceptance:
    """The rule for one set of references and one model.

    Attributes:
        guard: with its threshold, its copy limit and, once plain seeds were drawn, its contrast.
        targets: the references under the objective's encoder.
        encoder: the objective's.
        semantic_limit: most semantic loss that is accepted; infinite where the encoder has no say.
        margin: nearness asked for above the guard's threshold; more than none where near enough is not good enough.
    """

    guard: Guard
    targets: Targets
    encoder: Encoder
    semantic_limit: float
    margin: float = 0.0

    @property
    def needed(self) -> float:
        """Nearness under the guard that an acceptable image has at least."""
        return self.guard.threshold + self.margin

    def against(self, plain: Tensor) -> Acceptance:
        """The same, knowing what plain seeds give instead, from the guard's embeddings of their images ``[n, G]``."""
        return replace(self, guard=self.guard.against(plain.to(self.guard.prototypes.device)))

    @torch.no_grad()
    def judge(self, images: Tensor, *, starts: Sequence[float | None] | None = None) -> tuple[Judgement, ...]:
        """A judgement for each of ``images`` ``[B, 3, H, W]`` in 0..1.

        Args:
            images: where the judges' networks are.
            starts: nearness under this guard of the images that they started from, one for each; None where there is none.
        """
        # embedded once: nearness, side and later the distance between images all come from it
        embeddings = self.guard.embed(images)
        found = zip(
            embeddings,
            self.guard.judge(embeddings).tolist(),
            self.semantic_loss(self.encoder(images)).tolist(),
            self.guard.copy_score(images).tolist(),
            self._on_references_side(embeddings).tolist(),
            [None] * len(images) if starts is None else starts,
            strict=True,
        )
        return tuple(
            Judgement(
                guard=near,
                needed=self.needed,
                semantic=semantic,
                copy_score=copy,
                refusals=tuple(self._refusals(near, semantic, copy, wanted_side=side, start=start)),
                guard_embedding=embedding,
            )
            for embedding, near, semantic, copy, side, start in found
        )

    def acceptable(self, guard_embeddings: Tensor, embeddings: Tensor) -> Tensor:
        """Rules 1 and 2 for a pool of plain images that are known by their embeddings alone, ``[n]`` of booleans on the CPU.

        Args:
            guard_embeddings: ``[n, G]``.
            embeddings: of the same images, under the objective's encoder, ``[n, D]``.
        """
        near = self.guard.judge(guard_embeddings.to(self.guard.prototypes.device)).cpu()
        loss = self.semantic_loss(embeddings.to(self.targets.prototypes.device)).cpu()
        return (near >= self.needed) & (loss <= self.semantic_limit)

    def semantic_loss(self, embeddings: Tensor) -> Tensor:
        """``1 - nearness`` of embeddings ``[B, D]`` under the objective's encoder, ``[B]`` in 0..2."""
        return 1 - nearness(embeddings, self.targets.prototypes)

    def _on_references_side(self, embeddings: Tensor) -> Tensor:
        """``[B]``: true everywhere where there is no contrast to ask."""
        if self.guard.contrast is None:
            return torch.ones(len(embeddings), dtype=torch.bool)
        return self.guard.contrast.side(embeddings) >= 0

    def _refusals(
        self, near: float, semantic: float, copy: float, *, wanted_side: bool, start: float | None
    ) -> list[str]:
        refusals = []
        # 1. The guard. What is on the failures' side is held below the threshold, so both questions are one number; the words differ.
        if not wanted_side:
            refusals.append("rejected: nearer to what plain seeds draw than to the references")
        elif near < self.needed:
            refusals.append(f"rejected: nearness {near:.3f} < {self.needed:.3f}")
        # 2. The objective's encoder.
        if semantic > self.semantic_limit:
            refusals.append(
                f"rejected: semantic loss {semantic:.3f} > {self.semantic_limit:.3f}, the references' own mean"
            )
        # 3. Never worse than its start, but for what a batch and 8 bits change.
        if start is not None and near < start - ROUNDING:
            refusals.append(f"rejected: nearness {near:.3f} is below its start's {start:.3f}")
        # 4. Copies.
        if copy >= self.guard.copy_limit:
            refusals.append(f"rejected: too like a reference (correlation {copy:.2f} >= {self.guard.copy_limit:.2f})")
        return refusals


@torch.no_grad()
def make_acceptance(
    references: Tensor,
    family: Family,
    *,
    encoder: Encoder,
    guard_encoder: Embed,
    criteria: Criteria,
    plain: Tensor | None = None,
) -> Acceptance:
    """The rule of a recipe for references ``[K, 3, H, W]`` in 0..1, on the model's device.

    Args:
        references: the photos.
        family: the model, whose image codec the judges see the photos through.
        encoder: the objective's embedding.
        guard_encoder: another embedding, in no objective.
        criteria: the recipe.
        plain: the guard's embeddings of what plain seeds draw, ``[n, G]``, for the contrast; None before any were drawn.
    """
    paper = criteria.objective == "paper"
    if paper:
        targets = make_paper_targets(references, encoder, family)
    else:
        targets = make_targets(references, encoder, family, match_codec=criteria.match_codec)
    found = Acceptance(
        guard=make_guard(
            references,
            guard_encoder,
            seen=through_codec(references, family),
            slack=criteria.guard_slack,
            turns=criteria.guard_turns,
        ),
        targets=targets,
        encoder=encoder,
        # The paper's losses look at other embeddings than the references' nearness to each other is measured with.
        semantic_limit=float("inf") if paper else targets.semantic_limit,
    )
    return found if plain is None else found.against(plain)
