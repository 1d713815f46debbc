"""Diffusion pipelines, loaded as they are: nothing here changes a weight."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seedbank.errors import UsageError
from seedbank.models.files import describe, find_model, quiet
from seedbank.trials import ModelCard, SamplerConfig

FAMILIES = {"StableDiffusionPipeline"}
"""Pipeline classes whose sampling loop :mod:`seedbank.selection` reproduces exactly."""
LIBRARIES = {"diffusers", "transformers"}
"""Where a pipeline's parts may come from; anything else would be code of the model's own."""
SETTINGS = "seedbank.json"
"""A file beside ``model_index.json`` that says how the model is meant to be sampled."""


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline ready to sample, what it is, and how it is meant to be sampled."""

    pipeline: Any
    """A diffusers pipeline in evaluation mode, no parameter asking for a gradient, with a DDIM scheduler."""
    card: ModelCard
    sampler: SamplerConfig


def load_pipeline(model: str, *, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """Load ``model``: ``parts``, a local folder, or ``repository@revision`` with the full commit. No network for the first two.

    Raises:
        UsageError: no such model, an unsupported family, pickled weights, or a repository that brings its own code.
        OutsideError: the hub could not be reached.
    """
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    folder = find_model(model, "pipeline")
    _check_index(folder, model)
    options = {"safety_checker": None, "requires_safety_checker": False, "variant": _variant(folder)}
    with quiet():
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, **options
        )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.eval().requires_grad_(False)
    return LoadedModel(pipeline, describe(folder, source=model), _sampler(folder, pipeline, dtype))


def _check_index(folder: Path, model: str) -> None:
    """Refuse what this code does not sample exactly, and whatever would run a stranger's code."""
    try:
        index = json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"expected a diffusers model_index.json in {model!r}: {error}; name a pipeline folder"
        ) from error
    family = index.get("_class_name")
    if not isinstance(family, str) or family not in FAMILIES:
        raise UsageError(
            f"expected one of {sorted(FAMILIES)} in {model!r}, got {family!r}; this family is not supported"
        )
    for name, part in index.items():
        if isinstance(part, list) and part[0] is not None and part[0] not in {*LIBRARIES, "stable_diffusion"}:
            raise UsageError(
                f"{model!r} wants to run its own code for {name!r} (from {part[0]!r}); only parts of "
                f"{' and '.join(sorted(LIBRARIES))} are loaded"
            )


def _variant(folder: Path) -> str | None:
    """``fp16`` where a repository ships its U-Net only so."""
    plain = list(folder.glob("unet/diffusion_pytorch_model*.safetensors"))
    return "fp16" if plain and all(".fp16." in path.name for path in plain) else None


def _sampler(folder: Path, pipeline: Any, dtype: torch.dtype) -> SamplerConfig:
    """The sampling the model's makers intend: ``seedbank.json`` if there is one, else 20 steps at guidance 7.5 as in the paper."""
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    intended = {"num_inference_steps": 20, "guidance_scale": 7.5, "height": side, "width": side}
    if (folder / SETTINGS).is_file():
        intended |= json.loads((folder / SETTINGS).read_text())
    return SamplerConfig(
        scheduler=type(pipeline.scheduler).__name__,
        num_inference_steps=int(intended["num_inference_steps"]),
        guidance_scale=float(intended["guidance_scale"]),
        height=int(intended["height"]),
        width=int(intended["width"]),
        dtype=str(dtype).removeprefix("torch."),
    )
