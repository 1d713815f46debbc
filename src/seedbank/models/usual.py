"""How a pipeline in a folder is usually sampled, from its settings alone: a family says it of a pipeline without any weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seedbank.models.weights import INDEX
from seedbank.selection.sampling.families import adapt
from seedbank.selection.sampling.families.base import Sampling


class _Settings:
    """A settings file; what it does not say is None, as diffusers' own defaults are for all that families ask."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        return self._values.get(name)


class _Part:
    """A part of a pipeline that has settings and nothing else."""

    def __init__(self, path: Path) -> None:
        self.config = _Settings(json.loads(path.read_text()))


def usual_sampling(folder: Path) -> Sampling | None:
    """How the pipeline in ``folder`` is usually sampled by its family; None where its settings do not say enough."""
    try:
        index = json.loads((folder / INDEX).read_text())
        found = adapt(_bare_pipeline(folder, index)).sampling()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found


def _bare_pipeline(folder: Path, index: dict[str, Any]) -> Any:
    """What :func:`adapt` takes for a pipeline of that class, whose parts have settings alone."""
    network = "transformer" if "transformer" in index else "unet"
    codec = json.loads((folder / "vae" / "config.json").read_text())
    factor = 2 ** (len(codec["block_out_channels"]) - 1)
    parts = {
        network: _Part(folder / network / "config.json"),
        "scheduler": _named(index["scheduler"][1], _Part)(folder / "scheduler" / "scheduler_config.json"),
        "vae_scale_factor": factor,
        # Of a Flux, whose settings do not say it.
        "default_sample_size": 128,
    }
    return type(index["_class_name"], (), parts)()


def _named(name: str, kind: type) -> Any:
    """``kind`` under another name: families ask what a scheduler's class is called."""
    return type(name, (kind,), {})
