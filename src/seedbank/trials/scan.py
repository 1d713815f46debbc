"""How well plain seeds draw a concept: the question before any search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seedbank.models.drawing import plain_images
from seedbank.trials.audit import Pixels, Success, audit, label_of, success

if TYPE_CHECKING:
    from PIL import Image

    from seedbank.concepts import Concept
    from seedbank.models import Auditor
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
    photos: Sequence[Image.Image] = (),
    *,
    seeds: int = 64,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Scan:
    """Draw the concept's first ``seeds`` plain seeds and judge the images."""
    from seedbank.models import load_auditor

    drawn = plain_images(concept, seeds, progress)
    diagnosis = _diagnosed(concept, photos, drawn) if photos else None
    return Scan(concept.name, seeds, diagnosis, _audited(load_auditor(), concept.name, drawn))


def _diagnosed(concept: Concept, photos: Sequence[Image.Image], drawn: Sequence[Pixels]) -> Diagnosis:
    """By the acceptance that a search with the concept's preset would make."""
    import torch

    from seedbank.models import load_encoder, load_guard, load_pipeline
    from seedbank.selection import preset
    from seedbank.selection.judging.acceptance import make_acceptance
    from seedbank.selection.judging.targets import stack_images
    from seedbank.selection.sampling.sampler import from_pixels, make_sampler
    from seedbank.selection.search.diagnose import diagnose
    from seedbank.selection.search.name_effect import name_effect

    height, width, _ = drawn[0].shape
    references, images = stack_images(photos, height, width), from_pixels(np.stack(drawn))
    model, encoder = load_pipeline(concept.model), load_encoder()
    sampler = make_sampler(model.pipeline, concept.prompt, model.sampler)
    recipe = preset(concept.preset, starts=1)
    acceptance = make_acceptance(
        references, sampler.family, encoder=encoder, guard_encoder=load_guard(), criteria=recipe
    )
    with torch.no_grad():
        embeddings, guard_embeddings = encoder(images), acceptance.guard.embed(images)
    # The same two questions as an exploration asks, so that a scan and a search agree.
    acceptance = acceptance.against(guard_embeddings)
    found = diagnose(acceptance, guard_embeddings=guard_embeddings, embeddings=embeddings)
    if found.recommendation != "unreachable":
        return found
    effect = name_effect(sampler, acceptance, guard_embeddings=guard_embeddings, embeddings=embeddings)
    return found.with_name_effect(effect)


def _audited(auditor: Auditor, concept: str, drawn: Sequence[Pixels]) -> Success | None:
    label = label_of(auditor, concept)
    return None if label is None else success(audit(auditor, drawn, label))
