"""Seed selection: find the initial noise that makes an unchanged diffusion model draw what a few photos show.

A library over any diffusers pipeline of a supported family. In come a pipeline, a prompt, photos and two embeddings; out come seeds, their
images and what they cost. It imports nothing of the product but its errors and canonical records: no store, MLflow or Airflow.

==============  ===================================================================================================
``sampling/``   noise to images and back to noise: samplers, families of models, gradients, geometry of white noise
``judging/``    what the references ask for, and who accepts: targets, guard, acceptance, diversity
``search/``     explore, optimise, keep: :func:`select`, its recipes, rules and results; diagnosis of a pool
``expansion/``  many images from one find: :func:`expand`
==============  ===================================================================================================

Names below are imported when first used, so that records can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedbank.selection.search.checkpoint import Progress
    from seedbank.selection.search.recipes import (
        BALANCED,
        FAST,
        PRESETS,
        SEEDSELECT_V1,
        THOROUGH,
        Recipe,
        preset,
    )
    from seedbank.selection.search.results import Event, Find, Picture, Selection
    from seedbank.selection.search.select import select

_HOMES = {
    "search.checkpoint": ("Progress",),
    "search.recipes": ("BALANCED", "FAST", "PRESETS", "SEEDSELECT_V1", "THOROUGH", "Recipe", "preset"),
    "search.results": ("Event", "Find", "Picture", "Selection"),
    "search.select": ("select",),
}
"""Where each exported name is defined."""

__all__ = [
    "BALANCED",
    "FAST",
    "PRESETS",
    "SEEDSELECT_V1",
    "THOROUGH",
    "Event",
    "Find",
    "Picture",
    "Progress",
    "Recipe",
    "Selection",
    "preset",
    "select",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
