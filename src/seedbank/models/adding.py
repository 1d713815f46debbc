"""New model profiles, and pinning what they name: the text of a YAML file in, the text out, so that comments stay."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from seedbank.errors import UsageError
from seedbank.models.card import SHIPPED
from seedbank.models.client import may_be_repository, named, pinned
from seedbank.models.profiles import SUFFIX, ModelProfile, parse_profile

ENCODER = "google/siglip2-base-patch16-256@3f9f96cb90da5dbc758b01813f2f6f1aee24c1ab"
"""Of another family than the text encoder of any pipeline that is supported, and small enough to take gradients of."""
GUARD = "facebook/dinov2-base@f9e44c814b77203eaa57a6bdbbd535f21ede1415"
"""Learnt from images alone, so that it shares no caption with an encoder."""

_TEXT = """\
# {what}
name: {name}
pipeline: {pipeline}
# Whose gradient is followed: of another family than the pipeline's own text encoder.
encoder: {encoder}
# What accepts, and compares reference photos: never the encoder.
guard: {guard}
# How images are sampled; what is not said is what the model's makers or its family usually do (seedbank models check {name} shows it).
{usual}sampler: {{}}
# Of the diffusion networks: auto follows the device.
precision: auto
# upright for what has an up; any for what lies any way round, which is judged in all four orientations.
orientation: {orientation}
"""


def new_profile(
    name: str, pipeline: str, *, encoder: Sequence[str] = (), guard: Sequence[str] = (), orientation: str = "upright"
) -> str:
    """The text of a profile for ``pipeline``, with judges for photographs unless others are named; the shipped model brings its own.

    Raises:
        UsageError: the profile cannot be, or ``pipeline`` is a folder without a diffusers pipeline of a supported family.
    """
    shipped = pipeline == SHIPPED
    what = "The model that ships with seedbank." if shipped else _what(pipeline)
    values = {
        "name": name,
        "pipeline": _absolute(pipeline),
        "encoder": _one_or_list(encoder or [SHIPPED if shipped else ENCODER]),
        "guard": _one_or_list(guard or [SHIPPED if shipped else GUARD]),
        "orientation": "any" if shipped else orientation,
    }
    parse_profile(
        {key: json.loads(value) if value[0] in '["' else value for key, value in values.items()}, "the new profile"
    )
    return _TEXT.format(what=what, usual=_usual(Path(pipeline).expanduser()), **values)


def write_profile(folder: Path, name: str, text: str) -> Path:
    """Write a new profile; raises :class:`~seedbank.errors.UsageError` where there is one of that name."""
    path = folder / f"{name}{SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"there is a model profile {path} already; choose another name, or edit that file") from None
    return path


def unpinned(profile: ModelProfile) -> tuple[str, ...]:
    """The hub sources of ``profile`` that name no commit, each once."""
    return tuple(dict.fromkeys(source for source, _part in profile.sources if _on_a_hub(source) and not pinned(source)))


def pin(text: str, commits: Mapping[str, str]) -> str:
    """``text`` with each source replaced by its repository at the commit that ``commits`` has for it."""
    for source, commit in commits.items():
        # Whole names only: one source may begin or end like another, or like one that is pinned.
        text = re.sub(rf"(?<![\w./@-]){re.escape(source)}(?![\w./@-])", f"{named(source)[0]}@{commit}", text)
    return text


def commits_of(sources: Sequence[str], resolve: Callable[[str], str]) -> dict[str, str]:
    """The commit at which each of ``sources`` is now; raises like :func:`seedbank.models.hub.resolve`."""
    return {source: resolve(source) for source in sources}


def _on_a_hub(source: str) -> bool:
    return source != SHIPPED and may_be_repository(source) and not Path(source).expanduser().is_dir()


def _absolute(source: str) -> str:
    """A folder from anywhere: the profile lies elsewhere than whoever typed it."""
    folder = Path(source).expanduser()
    return str(folder.absolute()) if source != SHIPPED and folder.is_dir() else source


def _one_or_list(sources: Sequence[str]) -> str:
    found = [_absolute(source) for source in sources]
    return found[0] if len(found) == 1 else json.dumps(found)


def _usual(folder: Path) -> str:
    """A comment with what that is, for a pipeline in a local folder."""
    from seedbank.models.usual import usual_sampling

    if (found := usual_sampling(folder)) is None:
        return ""
    size = f"height: {found.side}, width: {found.side}"
    return f"# Usually {{num_inference_steps: {found.steps}, guidance_scale: {found.guidance:g}, {size}}}.\n"


def _what(pipeline: str) -> str:
    """What a profile's first line says of its pipeline."""
    from seedbank.selection.sampling.families import ADAPTERS

    folder = Path(pipeline).expanduser()
    if not folder.is_dir():
        return f"{named(pipeline)[0]}, from a hub."
    try:
        family = json.loads((folder / "model_index.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"expected the model_index.json of a diffusers pipeline in {pipeline}: {error!r}; name its folder"
        ) from error
    if family not in ADAPTERS:
        raise UsageError(
            f"expected one of {sorted(ADAPTERS)} in {pipeline}, got {family!r}; this family is not supported"
        )
    return f"A {family} in a local folder."
