"""A profile's models, loaded: the pipeline with its sampling, and the judges.

In: a :class:`~seedbank.models.profiles.ModelProfile` and a device. Out: what a search works with, each with the card of its files. Judges
are refused that cannot judge: one network that would be followed and accept at once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError

from seedbank.errors import UsageError
from seedbank.models.device import choose_dtype
from seedbank.models.files import find_model
from seedbank.models.judges import Auditor, Embedder, load_auditor, load_encoder, load_guard
from seedbank.models.kinship import shared_text_encoder
from seedbank.models.pipelines import LoadedModel, read_pipeline
from seedbank.models.placing import place_model
from seedbank.models.profiles import ModelProfile, SamplerSettings
from seedbank.selection.records import SamplerConfig

if TYPE_CHECKING:
    from seedbank.models.card import ModelCard


CPU = torch.device("cpu")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Models:
    """What a search works with.

    Attributes:
        profile: what it was asked by.
        model: the pipeline, sampled as the profile says.
        encoder: whose gradient is followed.
        guard: what accepts.
    """

    profile: ModelProfile
    model: LoadedModel
    encoder: Embedder
    guard: Embedder


def load_models(profile: ModelProfile, *, device: torch.device = CPU) -> Models:
    """Pipeline and judges of ``profile``, on one device.

    Raises:
        UsageError: a part is missing or cannot be used, a setting cannot be, encoder and guard are the same network, or the guard is half
            of the network that the pipeline reads with.
        OutsideError: the hub could not be reached.
    """
    # judges first: what they fill of a card is not free for the pipeline
    encoder, guard = load_profile_encoder(profile, device=device), load_profile_guard(profile, device=device)
    _check_independent(profile, encoder, guard)
    model = load_model(profile, device=device, judge=encoder)
    for kin in kinships(profile, model):
        log.warning("%s", kin)
    return Models(profile, model, encoder, guard)


def load_model(profile: ModelProfile, *, device: torch.device = CPU, judge: Embedder | None = None) -> LoadedModel:
    """The pipeline of ``profile``, in its precision, with its sampling; raises like :func:`load_models`.

    ``judge`` is the one whose gradient will be followed: on a card memory is planned for it too.
    """
    found = read_pipeline(profile.pipeline, dtype=choose_dtype(profile.precision, device))
    sampler = settled(found.sampler, profile.sampler, where=f"the model profile {profile.name!r}")
    place_model(found.pipeline, device, sampler, judge=judge)
    return replace(found, sampler=sampler)


def load_profile_encoder(profile: ModelProfile, *, device: torch.device = CPU) -> Embedder:
    """The encoder of ``profile``; raises like :func:`load_models`."""
    return load_encoder(*profile.encoder, device=device)


def load_profile_guard(profile: ModelProfile, *, device: torch.device = CPU) -> Embedder:
    """The guard of ``profile``; raises like :func:`load_models`."""
    return load_guard(*profile.guard, device=device)


def load_profile_auditor(profile: ModelProfile) -> Auditor | None:
    """The auditor of ``profile``, if it names one; on the CPU, where its few images are judged."""
    return load_auditor(profile.auditor.source) if profile.auditor else None


def settled(usual: SamplerConfig, said: SamplerSettings, *, where: str) -> SamplerConfig:
    """``usual`` with what is ``said`` instead; ``where`` names the source in messages.

    Raises:
        UsageError: what is said cannot be.
    """
    from seedbank.selection.sampling.sampler import usual_batch_size

    try:
        found = SamplerConfig.model_validate({**usual.model_dump(), **said.said})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"expected sampling settings in {where}, got a wrong {first['loc'][0]}: {first['msg']}"
        ) from error
    if (found.height, found.width) == (usual.height, usual.width):
        return found
    # The usual batch is for the usual size.
    return found.model_copy(update={"batch_size": usual_batch_size(found.height, found.width)})


def _check_independent(profile: ModelProfile, encoder: Embedder, guard: Embedder) -> None:
    """By content: two names may be one network."""
    both = {card.content for card in _networks(encoder.card)} & {card.content for card in _networks(guard.card)}
    if both:
        raise UsageError(
            f"the encoder and the guard of the model profile {profile.name!r} are the same network ({min(both)[:12]}); a judge that is "
            "followed cannot accept, so name another guard"
        )


def _networks(card: ModelCard) -> tuple[ModelCard, ...]:
    return card.members or (card,)


def kinships(profile: ModelProfile, model: LoadedModel) -> tuple[str, ...]:
    """Encoders that are half of the network that ``model`` reads its prompts with, each as a warning.

    Raises:
        UsageError: a guard is.
    """
    for source in profile.guard:
        if name := shared_text_encoder(model.pipeline, find_model(source, "guard")):
            raise UsageError(
                f"the guard {source!r} of the model profile {profile.name!r} and the pipeline's own {name} are halves of one network; "
                "it would accept what the prompt already did, so name a guard of another family"
            )
    found = [(source, shared_text_encoder(model.pipeline, find_model(source, "encoder"))) for source in profile.encoder]
    return tuple(
        f"the encoder {source!r} and the pipeline's own {name} are halves of one network, so the search climbs what the model already "
        "believes; an encoder of another family says more"
        for source, name in found
        if name
    )
