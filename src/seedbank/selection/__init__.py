"""Seed selection: find the initial noise that makes an unchanged diffusion model draw what a few photos show.

Import :func:`select` and the presets; everything else is there to be replaced. Nothing here knows of storage, MLflow or Airflow.
"""

from seedbank.selection.progress import Progress
from seedbank.selection.recipes import BALANCED, FAST, PRESETS, SEEDSELECT_V1, THOROUGH, Recipe, preset
from seedbank.selection.results import Event, Find, Picture, Selection
from seedbank.selection.select import select

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
