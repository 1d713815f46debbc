"""One search: what it is asked, and what follows from that alone, before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from PIL import Image
from torch import Tensor

from seedbank.selection.judging.acceptance import Acceptance, make_acceptance
from seedbank.selection.judging.guard import Embed
from seedbank.selection.judging.targets import Encoder, Targets, stack_images
from seedbank.selection.sampling.inversion import inverted_seeds
from seedbank.selection.sampling.noise import PoolSeeds
from seedbank.selection.sampling.sampler import Sampler
from seedbank.selection.search.objective import LowFrequency, Objective, PaperAppearance, PaperSemantic, Semantic
from seedbank.selection.search.recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class SeedSearch:
    """The inputs of a search, for its stages :func:`~.explore.explore`, :func:`~.optimise.optimise` and :func:`~.draw.draw`.

    Attributes:
        sampler: a pipeline with a prompt.
        references: photos of what to draw, of any size and aspect.
        encoder: the embedding whose gradient is followed.
        guard_encoder: another embedding, never differentiated, that accepts or rejects.
        recipe: how to search.
        root: the integer, as a decimal string, that all draws derive from.
    """

    sampler: Sampler
    references: Sequence[Image.Image]
    encoder: Encoder
    guard_encoder: Embed
    recipe: Recipe
    root: str = "0"

    @cached_property
    def photos(self) -> Tensor:
        """The references as ``[K, 3, H, W]`` in 0..1, where the model is."""
        config = self.sampler.config
        return stack_images(self.references, config.height, config.width).to(self.sampler.family.device)

    @cached_property
    def acceptance(self) -> Acceptance:
        """The rule by which images are accepted, before anything is known of what plain seeds draw."""
        return make_acceptance(
            self.photos,
            self.sampler.family,
            encoder=self.encoder,
            guard_encoder=self.guard_encoder,
            criteria=self.recipe,
        )

    @property
    def targets(self) -> Targets:
        """The references in the spaces of the objective."""
        return self.acceptance.targets

    @cached_property
    def objective(self) -> Objective:
        """The objective that the recipe names, before anything is known of what plain seeds draw."""
        decode, targets, weight = self.sampler.family.decode, self.targets, self.recipe.appearance
        if self.recipe.objective == "paper":
            terms = (PaperSemantic(targets), PaperAppearance(targets, weight))
            # Not balanced: the released losses are a plain weighted sum.
            return Objective(terms, decode, self.encoder, last_steps=len(terms[0].shares), balanced=False)
        return Objective((Semantic(targets), LowFrequency(targets, weight)), decode, self.encoder)

    @cached_property
    def seeds(self) -> PoolSeeds:
        """What is explored: plain seeds, and inverted references where the recipe wants them."""
        plan = self.recipe.explore
        inverted = inverted_seeds(self.sampler, self.targets.latents, self.root, plan.inverted)
        return PoolSeeds(self.root, self.sampler.noise_shape, plan.size, paired=plan.paired, extra=inverted)
