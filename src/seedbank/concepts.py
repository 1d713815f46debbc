"""Concepts: what is asked of the model, by whom, and under which policy. One YAML file each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from seedbank.errors import UsageError
from seedbank.records import Record

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,62}$"
"""Concept names are object keys, Airflow partition keys and MLflow tags at once."""


class QualityPolicy(Record):
    """What one photo must measure to be usable. Pixels are measured at 256 on the longer side (:mod:`seedbank.references.measures`)."""

    min_side_px: int = Field(default=128, ge=1)
    """Shorter side as decoded, in pixels: twice what the shipped model draws."""
    min_sharpness: float = Field(default=20.0, ge=0)
    """Variance of the Laplacian, in grey levels²; our clean photos measure 23 and more, blurred by 2 pixels in 384 at most 17."""
    min_contrast: float = Field(default=0.03, ge=0, le=0.5)
    """Root-mean-square contrast, with white as 1; below it there is nothing to see."""
    max_aspect: float = Field(default=2.5, ge=1)
    """Longer over shorter side. A warning: what is outside the middle square is not looked at."""
    max_clipped: float = Field(default=0.6, ge=0, le=1)
    """Share of black or white pixels. A warning: a white studio background is clipped and fine."""
    max_noise: float = Field(default=15.0, ge=0)
    """Standard deviation of the noise, in grey levels. A warning: fine texture measures as noise."""


class SetPolicy(Record):
    """What the photos of a pool must measure against each other, and the reference set as a whole."""

    min_photos: int = Field(default=5, ge=1)
    """The fewest photos that make a set; the paper (arXiv 2304.14530) uses 3 to 5, and we want to see outliers."""
    max_photos: int = Field(default=8, ge=1)
    """The most photos chosen; more add little."""
    max_sameness: float = Field(default=0.9, ge=0, le=1)
    """Correlation with a slight crop of a better photo, above which a photo is a copy. Of 600 pairs of different renders of one part, one
    measures more; copies recompressed, brightened or cropped by up to 5 % measure 0.905 and more."""
    min_deviation: float = -3.5
    """Robust standard deviations below the usual likeness, under which a photo is a stranger (Iglewicz and Hoaglin 1993)."""
    min_effective_number: float = Field(default=1.1, ge=1)
    """Vendi score of the set, in photos. A warning: a uniform set steers every seed to the same picture."""
    min_usable_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the pool that is usable. A warning about how the pool was collected."""


class SelectionPolicy(Record):
    """How hard to search, and how much to show to the reviewers."""

    candidates: int = Field(default=8, ge=1, le=64)
    """How many starts are optimised, and so the most candidates there can be."""
    plain: int = Field(default=8, ge=1, le=64)
    """How many plain-seed images the dossier shows for comparison."""


class Policy(Record):
    """Every threshold of the gates, in one place."""

    quality: QualityPolicy = QualityPolicy()
    references: SetPolicy = SetPolicy()
    selection: SelectionPolicy = SelectionPolicy()
    purpose: str = "synthetic-release"
    """Photos whose rights do not cover this purpose are not usable."""


class Concept(Record):
    """What to draw, with which model, and under which policy.

    Attributes:
        name: lower-case letters, digits and dashes.
        prompt: the prompt whose seed is sought.
        siblings: prompts of what the model tends to draw instead.
        owner: the id of who asks for it; never one of its reviewers.
        model: ``parts``, a local folder, or ``repository@revision`` on a hub.
        preset: the recipe to search with.
        seed: the integer all random draws of a trial derive from, as a decimal string.
    """

    name: str = Field(pattern=NAME_PATTERN)
    prompt: str = Field(min_length=1, max_length=1000)
    siblings: tuple[str, ...] = ()
    owner: str = Field(min_length=1)
    model: str = "parts"
    preset: Literal["balanced", "seedselect_v1"] = "balanced"
    seed: str = Field(default="0", pattern=r"^\d{1,20}$")
    policy: Policy = Policy()


def load_concept(path: Path) -> Concept:
    """Read one concept file.

    Raises:
        UsageError: the file is missing, is not YAML, or a field is wrong; the message names the field.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"expected a concept file at {path}: {error.strerror}; `seedbank status` lists the known concepts"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
    try:
        concept = Concept.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"{path} is not a concept file: {faults}") from error
    if concept.name != path.stem:
        raise UsageError(
            f"{path} describes {concept.name!r}; name the file {concept.name}.yaml so that it can be found"
        )
    return concept


def load_concepts(folder: Path) -> dict[str, Concept]:
    """All concepts of a folder, by name, in alphabetical order."""
    return {path.stem: load_concept(path) for path in sorted(folder.glob("*.yaml"))}
