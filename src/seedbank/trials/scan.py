"""How well plain seeds draw a concept: the question before any search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from seedbank.models.drawing import plain_pictures
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
    """Draw the concept's first ``seeds`` plain seeds and judge the pictures."""
    from seedbank.models import load_auditor

    pictures = plain_pictures(concept, seeds, progress)
    diagnosis = _diagnosed(concept, photos, pictures) if photos else None
    return Scan(concept.name, seeds, diagnosis, _audited(load_auditor(), concept.name, pictures))


def _diagnosed(concept: Concept, photos: Sequence[Image.Image], pictures: Sequence[Pixels]) -> Diagnosis:
    """The guard is made exactly as a search would make it."""
    import torch

    from seedbank.models import load_encoder, load_guard, load_pipeline
    from seedbank.selection import preset
    from seedbank.selection.judging.guard import make_guard
    from seedbank.selection.judging.targets import make_targets, stack_images, through_codec
    from seedbank.selection.sampling.families import adapt
    from seedbank.selection.sampling.sampler import from_pixels, make_sampler
    from seedbank.selection.search.nameless import name_brings
    from seedbank.selection.search.select import diagnose_pool

    height, width, _ = pictures[0].shape
    references, images = stack_images(photos, height, width), from_pixels(np.stack(pictures))
    model, encoder = load_pipeline(concept.model), load_encoder()
    family = adapt(model.pipeline)
    recipe, seen = preset(concept.preset, starts=1), through_codec(references, family)
    guard = make_guard(references, load_guard(), seen=seen, slack=recipe.guard_slack, turns=recipe.guard_turns)
    targets = make_targets(references, encoder, family)
    with torch.no_grad():
        embeddings, looks = encoder(images), guard.embed(images)
    judged = guard.against(looks).judge(looks)
    found = diagnose_pool(judged, embeddings, guard, targets, semantic_limit=targets.semantic_limit)
    if found.recommendation != "unreachable":
        return found
    sampler = make_sampler(model.pipeline, concept.prompt, model.sampler)
    return found.told(name_brings(sampler, embeddings, looks, targets, guard, encoder))


def _audited(auditor: Auditor, concept: str, pictures: Sequence[Pixels]) -> Success | None:
    label = label_of(auditor, concept)
    return None if label is None else success(audit(auditor, pictures, label))
