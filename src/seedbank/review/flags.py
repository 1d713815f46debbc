"""Flags: what a reviewer should know before answering, in plain words. They inform; gates refuse elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbank.references.records import Reference
from seedbank.trials.records import Candidate, Trial
from seedbank.trials.sheet import TrialImages

FEW_REFERENCES = 6
"""Fewer photos than this leave little to tell the concept from its circumstances."""
EXPIRY_DAYS = 90
"""Rights that end sooner than this may end while the release is in use."""
MAX_NORM_Z = 3.0
"""Standard deviations; white noise lies beyond in 0.3 % of draws."""
MAX_WHITENESS = 4.0
"""Largest absolute z-score of the whiteness tests; a chance of about 6 in 100,000 for each test."""
MIN_COSINE = 0.8
"""A seed that turned further than this from its start is hardly that seed any more."""
COPY_RMS = 0.04
"""Root mean square difference, of 0..1, of two 32-pixel thumbnails that look alike to people."""

Thumbnails = Sequence[npt.NDArray[np.float32]]


def find_flags(trial: Trial, candidates: Sequence[Candidate], images: TrialImages, *, today: date) -> tuple[str, ...]:
    """Everything about ``candidates`` and the reference photos that a reviewer should know."""
    return (
        *_search_flags(trial, candidates),
        *_reference_flags([reference for reference, _ in images.photos], today),
        *_noise_flags(candidates),
        *_copy_flags(candidates, images),
    )


def _search_flags(trial: Trial, candidates: Sequence[Candidate]) -> list[str]:
    flags = list(trial.notes)
    if trial.reachability != "plain":
        flags.append(
            f"none of {trial.pool.size} plain seeds was acceptable: every image shown comes from optimised noise"
        )
    if len(candidates) < len(trial.candidates):
        flags.append(
            f"the guard accepted {len(candidates)} of {len(trial.candidates)} candidates; only those are shown"
        )
    # The best of all plain seeds is what luck alone reached.
    unsure = [item for item in candidates if item.scores.guard < trial.pool.guard_max]
    if unsure:
        flags.append(f"the guard is not sure: {_names(unsure)} scored below the best of {trial.pool.size} plain seeds")
    return flags


def _reference_flags(references: Sequence[Reference], today: date) -> list[str]:
    flags = []
    if len(references) < FEW_REFERENCES:
        flags.append(
            f"only {len(references)} reference photos: look for what they share besides the concept (background, colour, view)"
        )
    for item in references:
        expires = item.rights.expires
        if expires is not None and expires <= today + timedelta(days=EXPIRY_DAYS):
            flags.append(
                f"rights of {item.name} end on {expires}: ask {item.rights.cleared_by} before this is used any longer"
            )
    return flags


def _noise_flags(candidates: Sequence[Candidate]) -> list[str]:
    checks: list[tuple[Callable[[Candidate], bool], str]] = [
        (lambda item: abs(item.scores.norm_z) > MAX_NORM_Z, "seed's norm is unusual for noise"),
        (lambda item: item.scores.whiteness > MAX_WHITENESS, "seed is not white any more"),
        (lambda item: item.scores.cosine_to_start < MIN_COSINE, "seed turned far from its start"),
    ]
    found = ((why, [item for item in candidates if off(item)]) for off, why in checks)
    return [f"{why}: {_names(items)}; look for artefacts" for why, items in found if items]


def _copy_flags(candidates: Sequence[Candidate], images: TrialImages) -> list[str]:
    photos = [_thumbnail(image) for _, image in images.photos]
    near = [item for item in candidates if _nearest(_thumbnail(images.images[item.image]), photos) < COPY_RMS]
    return [f"almost a copy of a reference photo: {_names(near)}"] if near else []


def _nearest(thumbnail: npt.NDArray[np.float32], others: Thumbnails) -> float:
    # Root mean square over pixels and channels; without photos the largest there is.
    return min((float(np.sqrt(np.mean((thumbnail - other) ** 2))) for other in others), default=1.0)


def _thumbnail(image: Image.Image) -> npt.NDArray[np.float32]:
    # BOX averages whole areas, in which noise and traces of compression cancel.
    return np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX), np.float32) / np.float32(255)


def _names(candidates: Sequence[Candidate]) -> str:
    return ", ".join(f"seed {item.seed[:12]}" for item in candidates)
