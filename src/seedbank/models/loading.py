"""A profile's models, loaded: the pipeline with its sampling, and the judges.

In: a :class:`~seedbank.models.profiles.ModelProfile` and a device. Out: what a search works with, each with the card of its files. Judges
are refused that cannot judge: one network that would be followed and accept at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError

from seedbank.errors import SeedbankError, UsageError
from seedbank.models.adding import unpinned
from seedbank.models.device import choose_dtype
from seedbank.models.judges import Auditor, Embedder, check_numbers, load_auditor, load_encoder, load_guard
from seedbank.models.kinship import check_independent, kinships
from seedbank.models.pipelines import LoadedModel, read_pipeline
from seedbank.models.placing import place_model
from seedbank.models.profiles import ModelProfile, SamplerSettings
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.families import adapt
from seedbank.selection.sampling.sampler import size_fault, usual_batch_size

if TYPE_CHECKING:
    from PIL import Image


CPU = torch.device("cpu")
FAR = 2.0
"""Times as many pixels as a model was made for, or as few, from which its images are noted to suffer: 768 of 512 squared is 2.25."""


@dataclass(frozen=True)
class Models:
    """What a search works with.

    Attributes:
        profile: what it was asked by.
        model: the pipeline, sampled as the profile says.
        encoder: whose gradient is followed.
        guard: what accepts.
        notes: what is not as whoever asked would expect.
    """

    profile: ModelProfile
    model: LoadedModel
    encoder: Embedder
    guard: Embedder
    notes: tuple[str, ...] = ()


def load_models(profile: ModelProfile, *, device: torch.device = CPU) -> Models:
    """Pipeline and judges of ``profile``, on one device.

    Raises:
        UsageError: a part is missing or cannot be used, a setting cannot be, encoder and guard are the same network, or the guard is half
            of the network that the pipeline reads with.
        OutsideError: the hub could not be reached.
    """
    # judges first: what they fill of a card is not free for the pipeline
    encoder, guard = load_profile_encoder(profile, device=device), load_profile_guard(profile, device=device)
    check_independent(profile, encoder, guard)
    model = load_model(profile, device=device, judge=encoder)
    return Models(profile, model, encoder, guard, (*model.notes, *kinships(profile, model.pipeline)))


def check_judges(models: Models, photos: Sequence[Image.Image]) -> None:
    """Ask both judges about the photos before anything is drawn.

    Raises:
        UsageError: one of them gives no numbers; the message names it.
    """
    from seedbank.selection.judging.targets import stack_images

    sampler = models.model.sampler
    images = stack_images(photos, sampler.height, sampler.width).to(models.model.device)
    for what, judge in (("encoder", models.encoder), ("guard", models.guard)):
        check_numbers(judge, images, what=what)


def load_model(profile: ModelProfile, *, device: torch.device = CPU, judge: Embedder | None = None) -> LoadedModel:
    """The pipeline of ``profile``, in its precision, with its sampling; raises like :func:`load_models`.

    ``judge`` is the one whose gradient will be followed: on a card memory is planned for it too.
    """
    where = f"the model profile {profile.name!r}"
    with _named(profile, "pipeline"):
        found = read_pipeline(profile.pipeline, dtype=choose_dtype(profile.precision, device))
    sampler = settled(found.sampler, profile.sampler, where=where)
    if fault := size_fault(adapt(found.pipeline), sampler.height, sampler.width):
        raise UsageError(f"{where} names a size that its model cannot draw: {fault}")
    place_model(found.pipeline, device, sampler, judge=judge)
    # Who names a scheduler did not want the model's own.
    notes = () if profile.sampler.scheduler else found.notes
    return replace(found, sampler=sampler, notes=(*notes, *_size_notes(found.sampler, sampler)))


def load_profile_encoder(profile: ModelProfile, *, device: torch.device = CPU) -> Embedder:
    """The encoder of ``profile``; raises like :func:`load_models`."""
    with _named(profile, "encoder"):
        return load_encoder(*profile.encoder, device=device)


def load_profile_guard(profile: ModelProfile, *, device: torch.device = CPU) -> Embedder:
    """The guard of ``profile``; raises like :func:`load_models`."""
    with _named(profile, "guard"):
        return load_guard(*profile.guard, device=device)


def load_profile_auditor(profile: ModelProfile) -> Auditor | None:
    """The auditor of ``profile``, if it names one; on the CPU, where its few images are judged."""
    with _named(profile, "auditor"):
        return load_auditor(profile.auditor.source) if profile.auditor else None


def settled(usual: SamplerConfig, said: SamplerSettings, *, where: str) -> SamplerConfig:
    """``usual`` with what is ``said`` instead; ``where`` names the source in messages.

    Raises:
        UsageError: what is said cannot be.
    """
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


@contextmanager
def _named(profile: ModelProfile, part: str) -> Iterator[None]:
    """A part that cannot be had is named, and a branch is pinned rather than explained."""
    if moving := [source for source in unpinned(profile) if source in _sources(profile, part)]:
        raise UsageError(
            f"the {part} of the model profile {profile.name!r} is {moving[0]!r}: no folder is there, and as a repository it can move; "
            f"`seedbank models pin {profile.name}` writes down the commit where it is now"
        )
    try:
        yield
    except SeedbankError as error:
        raise type(error)(f"the {part} of the model profile {profile.name!r}: {error}") from error


def _sources(profile: ModelProfile, part: str) -> tuple[str, ...]:
    single = (profile.pipeline,) if part == "pipeline" else (profile.auditor.source,) if profile.auditor else ()
    return {"encoder": profile.encoder, "guard": profile.guard}.get(part, single)


def _size_notes(usual: SamplerConfig, sampler: SamplerConfig) -> tuple[str, ...]:
    share = sampler.height * sampler.width / (usual.height * usual.width)
    if 1 / FAR <= share <= FAR:
        return ()
    return (
        f"images are drawn at {sampler.height}x{sampler.width}, and the model was made for {usual.height}x{usual.width}: so far from it, "
        f"things are {'drawn twice' if share > 1 else 'cut off'}",
    )
