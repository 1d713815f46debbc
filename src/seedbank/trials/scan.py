"""How well plain seeds draw a concept: the question before any search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seedbank.models.drawing import plain_images
from seedbank.trials.audit import Pixels, Success, audit, label_of, success

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from seedbank.concepts import Concept
    from seedbank.models import Auditor
    from seedbank.models.profiles import ModelProfile
    from seedbank.selection.search.diagnose import Diagnosis


@dataclass(frozen=True)
class Scan:
    """What plain seeds of a concept make: by the guard where there are photos, by the auditor where it knows the concept."""

    concept: str
    seeds: int
    diagnosis: Diagnosis | None
    auditor: Success | None


def scan_concept(
    concept: Concept,
    profile: ModelProfile,
    photos: Sequence[Image.Image] = (),
    *,
    seeds: int = 64,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Scan:
    """Draw the concept's first ``seeds`` plain seeds with the model of ``profile`` and judge the images by its judges."""
    from seedbank.models.loading import CPU, load_model, load_profile_auditor

    device = device or CPU
    model = load_model(profile, device=device)
    drawn = plain_images(model, concept.prompt, root=concept.seed, count=seeds, progress=progress)
    diagnosis = _diagnosed(concept, profile, photos, drawn, device=device) if photos else None
    auditor = load_profile_auditor(profile)
    audited = _audited(auditor, profile.auditor_label(concept.name), drawn) if auditor else None
    return Scan(concept.name, seeds, diagnosis, audited)


def _diagnosed(
    concept: Concept,
    profile: ModelProfile,
    photos: Sequence[Image.Image],
    drawn: Sequence[Pixels],
    *,
    device: torch.device,
) -> Diagnosis:
    """By the acceptance that a search with the concept's preset would make."""
    import torch

    from seedbank.models.loading import check_judges, load_models
    from seedbank.selection import preset
    from seedbank.selection.judging.acceptance import make_acceptance
    from seedbank.selection.judging.targets import stack_images
    from seedbank.selection.sampling.sampler import from_pixels, make_sampler
    from seedbank.selection.search.diagnose import diagnose
    from seedbank.selection.search.name_effect import name_effect

    height, width, _ = drawn[0].shape
    models = load_models(profile, device=device)
    check_judges(models, photos)
    at = models.model.device
    references, images = stack_images(photos, height, width).to(at), from_pixels(np.stack(drawn)).to(at)
    sampler = make_sampler(models.model.pipeline, concept.prompt, models.model.sampler)
    acceptance = make_acceptance(
        references,
        sampler.family,
        encoder=models.encoder,
        guard_encoder=models.guard,
        criteria=profile.adapt(preset(concept.preset, starts=1)),
    )
    with torch.no_grad():
        embeddings, guard_embeddings = models.encoder(images), acceptance.guard.embed(images)
    # The same two questions as an exploration asks, so that a scan and a search agree.
    acceptance = acceptance.against(guard_embeddings)
    found = diagnose(acceptance, guard_embeddings=guard_embeddings, embeddings=embeddings)
    if found.recommendation != "unreachable":
        return found
    effect = name_effect(sampler, acceptance, guard_embeddings=guard_embeddings, embeddings=embeddings)
    return found.with_name_effect(effect)


def _audited(auditor: Auditor, name: str, drawn: Sequence[Pixels]) -> Success | None:
    label = label_of(auditor, name)
    return None if label is None else success(audit(auditor, drawn, label))
