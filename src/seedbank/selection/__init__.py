"""Seed selection: find the initial noise that makes an unchanged diffusion model draw what a few photos show.

A library over diffusers pipelines of the supported families. In come a pipeline, a prompt, photos and two embeddings; out come seeds, their
images and what they cost. It imports nothing of the product but its errors and canonical records: no store, MLflow or Airflow.

==============  ===================================================================================================
``sampling/``   noise to images and back to noise: samplers, families of models, gradients, geometry of white noise
``judging/``    what the references ask for, and who accepts: targets, guard, acceptance, diversity
``search/``     explore, optimise, keep: :func:`select`, its recipes, rules and results; diagnosis of a pool
``expansion/``  many images from one find: :func:`expand`
==============  ===================================================================================================

One name means one thing everywhere: ``config`` is a :class:`SamplerConfig`, ``sampler`` a :class:`Sampler`, ``recipe`` says how to search
and ``plan`` how to expand, ``root`` is the integer that all draws derive from, ``encoder`` the embedding that the search follows,
``guard_encoder`` the one that the :class:`Guard` is made with.

Names below are imported when first used, so that records and recipes can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedbank.selection.expansion.expand import Plan, expand
    from seedbank.selection.expansion.results import ExpandedImage, ExpansionResult
    from seedbank.selection.judging.acceptance import Acceptance, Judgement, make_acceptance
    from seedbank.selection.judging.guard import Guard, make_guard
    from seedbank.selection.records import Calibration, Cost, PoolStatistics, SamplerConfig, Scores
    from seedbank.selection.sampling.sampler import Sampler, default_config, make_sampler
    from seedbank.selection.search.checkpoint import Checkpoint
    from seedbank.selection.search.diagnose import Diagnosis, diagnose
    from seedbank.selection.search.pool import Pool
    from seedbank.selection.search.recipes import (
        BALANCED,
        FAST,
        PRESETS,
        SEEDSELECT_V1,
        THOROUGH,
        AdamW,
        Explore,
        Recipe,
        Stop,
        Tangent,
        preset,
    )
    from seedbank.selection.search.results import Event, Find, ScoredImage, Selection
    from seedbank.selection.search.rules import StepMetrics
    from seedbank.selection.search.select import select
    from seedbank.selection.seeds import Lineage, Seed

_HOMES = {
    "expansion.expand": ("Plan", "expand"),
    "expansion.results": ("ExpandedImage", "ExpansionResult"),
    "judging.acceptance": ("Acceptance", "Judgement", "make_acceptance"),
    "judging.guard": ("Guard", "make_guard"),
    "records": ("Calibration", "Cost", "PoolStatistics", "SamplerConfig", "Scores"),
    "sampling.sampler": ("Sampler", "default_config", "make_sampler"),
    "search.checkpoint": ("Checkpoint",),
    "search.diagnose": ("Diagnosis", "diagnose"),
    "search.pool": ("Pool",),
    "search.recipes": (
        "BALANCED",
        "FAST",
        "PRESETS",
        "SEEDSELECT_V1",
        "THOROUGH",
        "AdamW",
        "Explore",
        "Recipe",
        "Stop",
        "Tangent",
        "preset",
    ),
    "search.results": ("Event", "Find", "ScoredImage", "Selection"),
    "search.rules": ("StepMetrics",),
    "search.select": ("select",),
    "seeds": ("Lineage", "Seed"),
}
"""Where each exported name is defined."""

__all__ = [
    "BALANCED",
    "FAST",
    "PRESETS",
    "SEEDSELECT_V1",
    "THOROUGH",
    "Acceptance",
    "AdamW",
    "Calibration",
    "Checkpoint",
    "Cost",
    "Diagnosis",
    "Event",
    "ExpandedImage",
    "ExpansionResult",
    "Explore",
    "Find",
    "Guard",
    "Judgement",
    "Lineage",
    "Plan",
    "Pool",
    "PoolStatistics",
    "Recipe",
    "Sampler",
    "SamplerConfig",
    "ScoredImage",
    "Scores",
    "Seed",
    "Selection",
    "StepMetrics",
    "Stop",
    "Tangent",
    "default_config",
    "diagnose",
    "expand",
    "make_acceptance",
    "make_guard",
    "make_sampler",
    "preset",
    "select",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
