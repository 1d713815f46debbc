"""Which of a model's files are read, by their names: one form of the weights, in safetensors, and the settings beside them.

A repository often holds the same weights several times: in full and in half precision, as pickles, for other frameworks, in one large file.
Only one of them is read, so only one is fetched. Pure: names in, names out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seedbank.errors import UsageError

PIPELINE = "pipeline"
"""The part that draws; every other part is one network, a judge."""
INDEX = "model_index.json"
CONFIG = "config.json"
SAMPLING = "seedbank.json"
"""A file beside ``model_index.json`` that says how the model is meant to be sampled."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".h5", ".msgpack")
"""File types that hold weights as code or in a form we cannot check."""
SETTINGS = (".json", ".txt", ".model")
"""What a loader reads besides weights: settings and vocabularies."""
LIBRARIES = {"diffusers", "transformers"}
"""Where a pipeline's parts may come from; anything else would be code of the model's own."""
UNUSED = {"safety_checker", "feature_extractor", "image_encoder"}
"""Parts that sampling does not need; they are neither fetched nor loaded."""
HALF, FULL = "fp16", ""
"""Forms of weights, as they stand in file names."""

# No folder or name that begins with a dot: names come from a stranger's server.
_NAME = re.compile(r"(?:(?P<folder>\w[\w-]*)/)?(?P<file>[\w-][\w.-]*)")
_SHARD = r"(?:-\d+-of-\d+)?"
_WEIGHTS = re.compile(
    rf"(?:diffusion_pytorch_model|model)(?:\.(?P<before>\w+))?{_SHARD}(?:\.(?P<after>\w+))?\.safetensors"
    r"(?:\.index(?:\.(?P<index>\w+))?\.json)?"
)
"""What diffusers and transformers call weights, and the index of weights in several files."""


@dataclass(frozen=True)
class Chosen:
    """The files of a model that are read, by name.

    Attributes:
        settings: small ones, to be looked at first.
        weights: large ones.
    """

    settings: tuple[str, ...]
    weights: tuple[str, ...]


def choose(names: Iterable[str], *, folders: Collection[str], half: bool, source: str) -> Chosen:
    """Of ``names``, those that are read from ``folders`` (``""`` for the top), with half-precision weights where ``half`` and they exist.

    Raises:
        UsageError: a folder's weights are there only in a form that can run code, or there are no weights at all.
    """
    found: dict[str, list[str]] = {folder: [] for folder in folders}
    for name in sorted(names):
        match = _NAME.fullmatch(name)
        if match and (match["folder"] or "") in found:
            found[match["folder"] or ""].append(match["file"])
    parts = [_choose_in(folder, files, half, source) for folder, files in found.items()]
    chosen = Chosen(tuple(n for part in parts for n in part.settings), tuple(n for part in parts for n in part.weights))
    if not chosen.weights:
        raise UsageError(
            f"expected safetensors weights in {source!r}, got no weights; check that it is a model of this kind"
        )
    return chosen


def form_of(name: str) -> str | None:
    """The form in which the file called ``name`` holds weights: :data:`FULL`, :data:`HALF` or another; None if it holds none."""
    match = _WEIGHTS.fullmatch(name)
    return next((form for form in match.groups() if form), FULL) if match else None


def parts_of(index: Mapping[str, Any], source: str) -> dict[str, list[Any]]:
    """The components in a ``model_index.json`` that are there and needed: name to ``[library, class]``.

    Raises:
        UsageError: one of them would run code of its own.
    """
    lists = {name: part for name, part in index.items() if isinstance(part, list) and part and part[0] is not None}
    parts = {name: part for name, part in lists.items() if name not in UNUSED}
    for name, part in parts.items():
        if part[0] not in LIBRARIES:
            raise UsageError(
                f"{source!r} wants to run its own code for {name!r} (from {part[0]!r}); only parts of "
                f"{' and '.join(sorted(LIBRARIES))} are loaded"
            )
    return parts


def refuse_code(settings: Mapping[str, Any], name: str, source: str) -> None:
    """Raises a UsageError if ``settings``, read from the file ``name``, point to code of the model's own."""
    if "auto_map" in settings:
        raise UsageError(f"{source!r} wants to run its own code (auto_map in {name}); remote code is never run")


def _choose_in(folder: str, files: list[str], half: bool, source: str) -> Chosen:
    forms = {form_of(file) for file in files if file.endswith(".safetensors")} - {None}
    # Half precision serves where full is not there, and the other way round; any other form is not one that is loaded.
    wanted = next((form for form in ((HALF, FULL) if half else (FULL, HALF)) if form in forms), None)
    pickles = [file for file in files if file.endswith(PICKLES)]
    if pickles and wanted is None:
        raise UsageError(
            f"expected safetensors weights in {source!r}, got only {'/'.join(filter(None, (folder, pickles[0])))}, which can run code "
            "when it is read; convert the model to safetensors first, or name a repository that has them"
        )
    weights = [file for file in files if form_of(file) == wanted and wanted is not None]
    settings = [file for file in files if form_of(file) is None and file.endswith(SETTINGS)]
    at = f"{folder}/" if folder else ""
    return Chosen(tuple(at + file for file in settings), tuple(at + file for file in weights))
