"""Concepts: what is asked of the model, by whom, and under which policy. One YAML file each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from seedbank.errors import UsageError
from seedbank.records import Record

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,62}$"
"""Concept names are object keys, Airflow partition keys and MLflow tags at once."""
PROFILE_PATTERN = r"^[a-z0-9][a-z0-9.-]{0,62}$"
"""Names of model profiles: their files' stems."""
DEFAULT_MODEL = "parts"
"""The profile of the model that ships with the package."""


class QualityPolicy(Record):
    """What one photo must measure to be usable. Pixels are measured at 256 on the longer side."""

    min_side_px: int = Field(default=128, ge=1)
    """Shorter side as decoded, in pixels: twice what the shipped model draws."""
    min_sharpness: float = Field(default=20.0, ge=0)
    """Variance of the Laplacian, in grey levels²; our clean photos measure 23 and more, a thousand public ones 45; of these, blurred by 3
    pixels in 384, 93 % measure less than 20."""
    min_contrast: float = Field(default=0.03, ge=0, le=0.5)
    """Root-mean-square contrast, with white as 1; below it there is nothing to see."""
    max_aspect: float = Field(default=2.5, ge=1)
    """Longer over shorter side. A warning: what is outside the middle square is not looked at."""
    min_exposure: float = Field(default=0.08, ge=0, le=1)
    """Mean luma, with white as 1. A warning: below it a photo is nearly black, as both were of a thousand public ones."""
    max_exposure: float = Field(default=0.95, ge=0, le=1)
    """Mean luma, with white as 1. A warning: above it a photo is nearly white; the brightest of a thousand public ones, on studio
    white, measures 0.93."""
    min_jpeg_quality: float = Field(default=40.0, ge=0, le=100)
    """Quality in libjpeg's scale. A warning; phones write 90 and more, messengers 60 to 80."""
    max_border: float = Field(default=0.03, ge=0, le=1)
    """Share of the photo in flat bars along its sides. A warning; of 24 among a thousand public photos 22 had a frame or bars."""
    max_edge_marks: float = Field(default=1.4, ge=0)
    """Detail along the sides over detail inside. A warning; of 24 among a thousand public photos 19 had a caption, watermark or frame."""


class SetPolicy(Record):
    """What the photos of a concept must measure against each other, and the reference set as a whole."""

    min_photos: int = Field(default=5, ge=2)
    """The fewest photos that make a set; the paper (arXiv 2304.14530) uses 3 to 5; we want to see outliers. One is never a set."""
    max_photos: int = Field(default=8, ge=1)
    """The most photos chosen; more add little."""
    max_sameness: float = Field(default=0.9, ge=0, le=1)
    """Correlation with a slight crop of a better photo, above which a photo is a copy. Of 600 pairs of different renders of one part, one
    measures more; copies recompressed, brightened or cropped by up to 5 % measure 0.905 and more."""
    min_belonging: float = Field(default=0.5, ge=0, le=1)
    """Where a photo's likeness to the others must lie between that of pictures of other things (0) and what is usual among them (1)."""
    min_effective_number: float = Field(default=1.1, ge=1)
    """Vendi score of the set, in photos. A warning: a uniform set steers every seed to the same picture."""
    min_usable_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the photos that are usable. A warning about how they were collected."""
    min_peers: int = Field(default=4, ge=3)
    """Photos to compare with, below which nobody can tell which one is the outlier, or shows a sibling. A warning."""
    min_sibling_margin: float = Field(default=-0.2, ge=-2, le=2)
    """Cosine to the other photos' mean less cosine to what the model draws for a sibling, below which a photo shows the
    sibling. Of 81 right example photos the lowest measures 0.21; a washer among clovers measures -0.82."""
    doubtful_sibling_margin: float = Field(default=0.0, ge=-2, le=2)
    """The same margin, below which it is a warning: the photo is nearer to a sibling than to its own set."""
    min_coverage: float = Field(default=0.5, ge=-1, le=1)
    """Mean likeness of the compared photos to their nearest chosen one. A warning: the set leaves out some of them."""
    min_ground_spread: float = Field(default=10.0, ge=0)
    """Colour difference between backgrounds, in ΔE; 2.3 is just visible. A warning: the seeds learn the background."""
    min_colour_spread: float = Field(default=0.0, ge=0)
    """Colour difference between subjects, in ΔE. A warning, off by default: many things have one colour."""
    min_pose_spread: float = Field(default=0.1, ge=0, le=1)
    """1 less the overlap of outlines. A warning: all photos are taken from the same side."""
    sibling_seeds: int = Field(default=8, ge=0, le=64)
    """Plain seeds drawn of each sibling prompt to compare photos with. 0 does without the comparison; with any other number, a model that
    cannot draw them is an error, and nothing is judged."""
    max_judged: int = Field(default=1000, ge=2, le=5000)
    """Photos that are judged. Of more those with the lowest digests are: a sample that stays the same as their number grows."""


class Picks(Record):
    """What the steward decides about single photos, each by its file name or the first digits of its digest."""

    pin: tuple[str, ...] = ()
    """Always in the set, in this order, also against a warning or a fault in quality; never without rights."""
    ban: tuple[str, ...] = ()
    """Never in the set."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for kind, names in (("pin", self.pin), ("ban", self.ban)):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{kind} names {twice[0]!r} twice; name it once")
        if both := sorted(set(self.pin) & set(self.ban)):
            raise ValueError(f"{both[0]!r} is pinned and banned; decide for one")
        return self


class SelectionPolicy(Record):
    """How hard to search, and how much to show to the reviewers."""

    candidates: int = Field(default=8, ge=1, le=64)
    """How many starts are optimised, and so the most candidates there can be."""
    plain: int = Field(default=8, ge=1, le=64)
    """How many plain-seed images the dossier shows for comparison."""


class Policy(Record):
    """Every threshold of the gates, in one place."""

    quality: QualityPolicy = Field(default_factory=QualityPolicy)
    references: SetPolicy = Field(default_factory=SetPolicy)
    selection: SelectionPolicy = Field(default_factory=SelectionPolicy)
    purpose: str = "synthetic-release"
    """Photos whose rights do not cover this purpose are not usable."""


class Concept(Record):
    """What to draw, with which model, and under which policy.

    Attributes:
        name: lower-case letters, digits and dashes.
        prompt: the prompt whose seed is sought.
        siblings: prompts of what it is easily taken for.
        owner: the id of who asks for it; never one of its reviewers.
        model: the name of a model profile, see :mod:`seedbank.models.profiles`.
        preset: the recipe to search with.
        seed: the integer all random draws of a trial derive from, as a decimal string.
        references: photos that the steward pins or bans.
    """

    name: str = Field(pattern=NAME_PATTERN)
    prompt: str = Field(min_length=1, max_length=1000)
    siblings: tuple[str, ...] = ()
    owner: str = Field(min_length=1)
    model: str = DEFAULT_MODEL
    preset: Literal["fast", "balanced", "thorough", "seedselect_v1"] = "balanced"
    seed: str = Field(default="0", pattern=r"^\d{1,20}$")
    policy: Policy = Field(default_factory=Policy)
    references: Picks = Field(default_factory=Picks)

    @field_validator("model")
    @classmethod
    def _is_a_profile(cls, model: str) -> str:
        if not re.fullmatch(PROFILE_PATTERN, model):
            raise ValueError(
                f"expected the name of a model profile, got {model!r}; a model needs judges that suit it, so write a profile with "
                f"`seedbank models add NAME {model}` and name that"
            )
        return model


def load_concept(path: Path, policy_of: Callable[[str], Mapping[str, Any]] = lambda _model: {}) -> Concept:
    """Read one concept file.

    Args:
        path: the file, called as the concept.
        policy_of: what the profile of a model, by its name, says of thresholds; the file may say otherwise.

    Raises:
        UsageError: the file is missing, is not YAML, or a field is wrong; the message names the field.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"expected a concept file at {path}: {error.strerror}; `seedbank status` lists the known concepts"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
    try:
        if isinstance(values, dict) and isinstance(values.get("policy", {}), dict):
            below = policy_of(str(values.get("model", DEFAULT_MODEL)))
            values["policy"] = merged(below, values.get("policy", {}))
        concept = Concept.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"{path} is not a concept file: {faults}") from error
    if concept.name != path.stem:
        raise UsageError(
            f"{path} describes {concept.name!r}; name the file {concept.name}.yaml so that it can be found"
        )
    return concept


def load_concepts(
    folder: Path, policy_of: Callable[[str], Mapping[str, Any]] = lambda _model: {}
) -> dict[str, Concept]:
    """All concepts of a folder, by name, in alphabetical order."""
    return {path.stem: load_concept(path, policy_of) for path in sorted(folder.glob("*.yaml"))}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of two files as one: what ``above`` says, and what only ``below`` does; sections are merged likewise."""
    found = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], Mapping) and isinstance(above[name], Mapping):
            found[name] = merged(below[name], above[name])
    return found
