"""Model profiles: which model draws, which judges look, and how images are sampled and judged. One YAML file each, in ``models/``.

A concept names a profile, so that a model never goes without judges that suit it. Light: nothing here loads a model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from seedbank.concepts import PROFILE_PATTERN, Policy
from seedbank.errors import UsageError
from seedbank.models.card import SHIPPED
from seedbank.records import Record
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.search.recipes import CALIBRATED, Recipe

SUFFIX = ".yaml"
TURNS = {"any": 4, "upright": 1}
"""Orientations in which the guard looks at an image, by what is said of the things that the model draws."""


def _listed(value: object) -> object:
    """One judge may be written without the brackets of a list."""
    return [value] if isinstance(value, str) else value


Sources = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""One network or several that judge together, each a shipped name, a folder, or ``repository@revision``."""


class SamplerSettings(Record):
    """How the model is sampled; what is not said is what its makers or its family usually do."""

    scheduler: str | None = None
    """Class name of a diffusers scheduler."""
    num_inference_steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0)
    height: int | None = Field(default=None, ge=8)
    width: int | None = Field(default=None, ge=8)
    negative_prompt: str | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What is said, by field."""
        return self.model_dump(exclude_none=True)


class AuditorProfile(Record):
    """The classifier that reports, and is neither followed nor asked for acceptance."""

    source: str
    labels: dict[str, str] = Field(default_factory=dict)
    """The classifier's label of a concept, by the concept's name, where the two differ."""


class Limits(Record):
    """What of a recipe belongs to a model and its judges more than to how hard one searches; None leaves it to the preset."""

    guard_slack: float | None = Field(default=None, ge=0)
    """See :func:`seedbank.selection.judging.guard.make_guard`."""
    gradient: str | None = None
    """A gradient mode, or ``calibrated``; see :mod:`seedbank.selection.sampling.calibrate` for which suits."""

    @field_validator("gradient")
    @classmethod
    def _known(cls, gradient: str | None) -> str | None:
        if gradient is not None and gradient != CALIBRATED:
            Mode.parse(gradient)
        return gradient


class ModelProfile(Record):
    """A model with its judges.

    Attributes:
        name: as its file is called.
        pipeline: what draws: a shipped name, a folder, or ``repository@revision``.
        encoder: whose gradient is followed; several judge as the mean of their cosines.
        guard: what accepts, and compares reference photos; never the same network as an encoder.
        auditor: what reports, if anything.
        sampler: how images are sampled.
        precision: of the diffusion networks' arithmetic; ``auto`` follows the device. Judges, noise and schedulers are float32 always.
        orientation: ``upright`` for what has an up; ``any`` for what lies any way round, which is judged in all four.
        limits: see :class:`Limits`.
        policy: thresholds of a concept's policy that suit this model and its judges; a concept file may say otherwise.
    """

    name: str = Field(pattern=PROFILE_PATTERN)
    pipeline: str = Field(min_length=1)
    encoder: Sources
    guard: Sources
    auditor: AuditorProfile | None = None
    sampler: SamplerSettings = Field(default_factory=SamplerSettings)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    orientation: Literal["any", "upright"] = "upright"
    limits: Limits = Field(default_factory=Limits)
    policy: dict[str, Any] = Field(default_factory=dict)

    @field_validator("policy")
    @classmethod
    def _is_a_policy(cls, policy: dict[str, Any]) -> dict[str, Any]:
        Policy.model_validate(policy)
        return policy

    @model_validator(mode="after")
    def _independent(self) -> Self:
        # By name here; by content where they are loaded. The shipped name stands for another network in each part.
        both = set(self.encoder) & set(self.guard) - {SHIPPED}
        if both:
            raise ValueError(
                f"{min(both)!r} is encoder and guard; a judge that is followed cannot accept, so name another guard"
            )
        return self

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Every source, and the part that it is for: ``pipeline``, ``encoder``, ``guard`` or ``auditor``."""
        judges = [(source, "encoder") for source in self.encoder] + [(source, "guard") for source in self.guard]
        auditor = [(self.auditor.source, "auditor")] if self.auditor else []
        return ((self.pipeline, "pipeline"), *judges, *auditor)

    def adapt(self, recipe: Recipe) -> Recipe:
        """``recipe`` with what this model and its judges want otherwise."""
        said = self.limits.model_dump(exclude_none=True)
        return replace(recipe, guard_turns=TURNS[self.orientation], **said)

    def auditor_label(self, concept: str) -> str:
        """What the auditor may call a concept: its name, unless the profile says otherwise."""
        return self.auditor.labels.get(concept, concept) if self.auditor else concept


def profile_path(folder: Path, name: str) -> Path:
    """The file of the profile called ``name``.

    Raises:
        UsageError: there is none; the message says which there are, and how to make one.
    """
    path = folder / f"{name}{SUFFIX}"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in folder.glob(f"*{SUFFIX}"))) or "none"
        raise UsageError(
            f"no model profile {name!r} in {folder}; known: {known}. `seedbank models add {name} PIPELINE` writes one "
            "(SEEDBANK_MODELS says where profiles are)"
        )
    return path


def load_profile(path: Path) -> ModelProfile:
    """Read one profile. Folders in it are taken from where its file lies.

    Raises:
        UsageError: the file cannot be read, is not YAML, or a field is wrong; the message names the field.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"expected a model profile at {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
    profile = parse_profile(values, str(path))
    if profile.name != path.stem:
        raise UsageError(
            f"{path} describes {profile.name!r}; name the file {profile.name}{SUFFIX} so that it can be found"
        )
    return _anchored(profile, path.parent)


def parse_profile(values: object, where: str) -> ModelProfile:
    """A profile from the values of a file; ``where`` names it in messages.

    Raises:
        UsageError: a field is wrong; the message names it.
    """
    try:
        return ModelProfile.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"{where} is not a model profile: {faults}") from error
    except UsageError as error:  # a gradient mode that does not exist
        raise UsageError(f"{where} is not a model profile: {error}") from error


def load_profiles(folder: Path) -> dict[str, ModelProfile]:
    """All profiles of a folder, by name, in alphabetical order."""
    return {path.stem: load_profile(path) for path in sorted(folder.glob(f"*{SUFFIX}"))}


def _anchored(profile: ModelProfile, folder: Path) -> ModelProfile:
    def anchored(source: str) -> str:
        found = folder / Path(source).expanduser()
        return str(found) if source != SHIPPED and "@" not in source and found.is_dir() else source

    auditor = profile.auditor and profile.auditor.model_copy(update={"source": anchored(profile.auditor.source)})
    return profile.model_copy(
        update={
            "pipeline": anchored(profile.pipeline),
            "encoder": tuple(map(anchored, profile.encoder)),
            "guard": tuple(map(anchored, profile.guard)),
            "auditor": auditor,
        }
    )
