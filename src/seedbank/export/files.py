"""The files of an export, and what of a model's folder they depend on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedbank.models.weights import INDEX


@dataclass(frozen=True)
class Package:
    """What one tool is given.

    Attributes:
        files: bytes by file name.
        notes: what to do with them, and what to know of the image that comes of it.
        settings: what a tool that makes its own noise is told.
    """

    files: Mapping[str, bytes]
    notes: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFolder:
    """A pipeline as its files describe it.

    Attributes:
        path: where they are.
        index: ``model_index.json``.
        named: whether somebody said that it lies there, so that it counts and not where the record says.
    """

    path: Path
    index: Mapping[str, Any]
    named: bool

    @property
    def pipeline(self) -> str:
        """Name of the diffusers class."""
        return str(self.index["_class_name"])

    def has(self, part: str) -> bool:
        """Whether the pipeline has this component."""
        found = self.index.get(part)
        return isinstance(found, list) and found[0] is not None


def read_model_folder(path: Path, *, named: bool = False) -> ModelFolder:
    """The description of the pipeline in ``path``, which loads."""
    return ModelFolder(path, json.loads((path / INDEX).read_text()), named)
