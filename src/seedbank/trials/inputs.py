"""Everything that decides what a trial finds, loaded and put under one key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seedbank.records import canonical_json, sha256
from seedbank.trials.code import code_version
from seedbank.trials.records import trial_folder
from seedbank.trials.workload import Search

if TYPE_CHECKING:
    import torch

    from seedbank.bank import Bank
    from seedbank.concepts import Concept
    from seedbank.models.loading import Models
    from seedbank.references.records import ReferenceSet
    from seedbank.selection import Recipe


@dataclass(frozen=True)
class Inputs:
    """Everything that decides what a trial finds."""

    concept: Concept
    reference_set: ReferenceSet
    models: Models
    recipe: Recipe
    code: str = field(default_factory=code_version)

    @property
    def key(self) -> str:
        """Digest of all inputs."""
        return sha256(
            canonical_json(
                {
                    "trial": 1,
                    "concept": self.concept.digest,
                    "reference_set": self.reference_set.digest,
                    "model": self.models.model.card.digest,
                    "encoder": self.models.encoder.card.digest,
                    "guard": self.models.guard.card.digest,
                    "sampler": self.models.model.sampler.digest,
                    "recipe": self.recipe.digest,
                    "code": self.code,
                }
            )
        )

    @property
    def folder(self) -> str:
        """Key prefix of the trial."""
        return trial_folder(self.concept.name, self.key)


def load_inputs(bank: Bank, concept: Concept, reference_set: ReferenceSet, device: torch.device) -> Inputs:
    """The models that the concept's profile names, on ``device``, and the recipe that its preset does."""
    from seedbank.models.loading import load_models
    from seedbank.selection import preset

    profile = bank.profile(concept.model)
    # The plain images for comparison come out of the same pool.
    recipe = preset(concept.preset, starts=max(concept.policy.selection.candidates, concept.policy.selection.plain))
    return Inputs(concept, reference_set, load_models(profile, device=device), profile.adapt(recipe))


def search_of(inputs: Inputs) -> Search:
    """How much work a trial is, before it begins."""
    from seedbank.selection.sampling.sampler import make_sampler

    model, policy = inputs.models.model, inputs.concept.policy.selection
    # For any prompt: how many steps and branches there are does not depend on it.
    sampler = make_sampler(model.pipeline, "", model.sampler)
    return Search(
        recipe=inputs.recipe,
        starts=policy.candidates,
        plain=policy.plain,
        steps=len(sampler.steps),
        branches=len(sampler.condition),
        references=len(inputs.reference_set.references),
        small=model.sampler.batch_size > 1,
    )
