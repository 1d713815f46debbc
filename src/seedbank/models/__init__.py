"""Models: diffusion pipelines and the three judges, loaded from safetensors only and known by the digest of their files.

In: a model's name (``parts``, a folder, ``repository@revision``). Out: the model ready to use, and a card that says
which it is. Knows nothing of photos, trials or the store.

Names below are imported when first used, so that a record that names a model can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedbank.models.judges import Auditor, Embedder, load_auditor, load_encoder, load_guard
    from seedbank.models.pipelines import LoadedModel, load_pipeline

_HOMES = {
    "judges": ("Auditor", "Embedder", "load_auditor", "load_encoder", "load_guard"),
    "pipelines": ("LoadedModel", "load_pipeline"),
}
"""Where each exported name is defined."""

__all__ = ["Auditor", "Embedder", "LoadedModel", "load_auditor", "load_encoder", "load_guard", "load_pipeline"]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
