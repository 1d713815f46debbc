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
    """What one photo must measure to be usable."""

    min_side_px: int = Field(default=128, ge=1)


class SetPolicy(Record):
    """What the reference set must measure as a whole."""

    min_photos: int = Field(default=5, ge=1)
    max_photos: int = Field(default=8, ge=1)


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
