"""For diffusers: the tensor that a pipeline takes as ``latents=``, and a script that draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from seedbank.export.files import ModelFolder, Package

if TYPE_CHECKING:
    from seedbank.export.finds import FoundSeed
    from seedbank.selection.sampling.sampler import Sampler

TENSOR, SCRIPT = "seed.safetensors", "draw.py"


def for_diffusers(found: FoundSeed, sampler: Sampler, folder: ModelFolder) -> Package:
    """The seed in the layout and data type of its pipeline, and the script."""
    from safetensors.torch import save

    from seedbank.selection.sampling.noise import stacked

    latents = sampler.family.pipeline_latents(stacked([found.seed])).cpu().contiguous()
    files = {
        TENSOR: save({"latents": latents}, {"seedbank.seed": found.seed.digest}),
        SCRIPT: script(found, folder, adds_noise=any(step.noise for step in sampler.steps)).encode(),
    }
    notes = [f"run: python {SCRIPT}"]
    if found.sampler.dtype != "float32":
        notes.append(
            f"in {found.sampler.dtype} a pipeline also rounds latents between steps, which seedbank keeps in float32: the image may "
            "differ by more than a level of 255"
        )
    return Package(files, tuple(notes))


def script(found: FoundSeed, folder: ModelFolder, *, adds_noise: bool) -> str:
    """A Python program that draws the seed beside it with the stock pipeline."""
    config, pipeline = found.sampler, folder.pipeline
    arguments = {
        "prompt": repr(found.prompt),
        **({"negative_prompt": repr(config.negative_prompt)} if config.negative_prompt else {}),
        "latents": f'load_file(here / "{TENSOR}")["latents"].to(device)',
        "num_inference_steps": repr(config.num_inference_steps),
        "guidance_scale": repr(config.guidance_scale),
        "height": repr(config.height),
        "width": repr(config.width),
        # The noise that the scheduler adds on the way, on the CPU as seedbank draws it.
        **({"generator": f"torch.Generator().manual_seed({config.noise_key})"} if adds_noise else {}),
    }
    # Latents go beyond -1..1, to which DDIM would clip them by default.
    unclipped = ", clip_sample=False, thresholding=False" if config.scheduler == "DDIMScheduler" else ""
    imported = ", ".join(sorted((config.scheduler, pipeline)))
    return f'''"""Draws seed {found.seed.digest[:12]} of seedbank."""

from pathlib import Path

import torch
from diffusers import {imported}
from safetensors.torch import load_file

here = Path(__file__).parent
device = "cuda" if torch.cuda.is_available() else "cpu"
pipeline = {pipeline}.from_pretrained(
{_lines(_loading(found, folder))}).to(device)
pipeline.scheduler = {config.scheduler}.from_config(pipeline.scheduler.config{unclipped})
image = pipeline(
{_lines(arguments)}).images[0]
image.save(here / "image.png")
'''


def _loading(found: FoundSeed, folder: ModelFolder) -> dict[str, str]:
    """Arguments of ``from_pretrained``; the first has no name."""
    from seedbank.models.pipelines import variant
    from seedbank.models.weights import UNUSED, parts_of

    card, kind = found.model, variant(folder.path, parts_of(folder.index, found.model.name))
    pinned = card.revision and not folder.named
    return {
        "": repr(card.name if pinned else str(folder.path)),
        **({"revision": repr(card.revision)} if pinned else {}),
        **({"variant": repr(kind)} if kind else {}),
        "dtype": f"torch.{found.sampler.dtype}",
        "use_safetensors": "True",
        # A safety checker may black the image out, and SDXL's watermark changes it.
        **{name: "None" for name in sorted(UNUSED) if folder.has(name)},
        **({"requires_safety_checker": "False"} if folder.has("safety_checker") else {}),
        **({"add_watermarker": "False"} if folder.pipeline == "StableDiffusionXLPipeline" else {}),
    }


def _lines(arguments: Mapping[str, str]) -> str:
    return "".join(f"    {name}={value},\n" if name else f"    {value},\n" for name, value in arguments.items())
