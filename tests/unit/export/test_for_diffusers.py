"""The exported script is run, and draws our image."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler, LCMScheduler, PNDMScheduler
from safetensors.torch import load

from seedbank.export.for_diffusers import for_diffusers, script
from seedbank.export.run import UNREVIEWED, export_seed
from support import pipelines as tiny
from support.exports import CARD, drawn, drawn_from
from support.tolerance import same_pixels

SD = {"steps_offset": 1, **tiny.BETAS}
CASES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "sd": (tiny.stable_diffusion, {"negative_prompt": "de", "scheduler": "EulerDiscreteScheduler"}),
    "a scheduler that is replaced": (lambda: tiny.stable_diffusion(PNDMScheduler(**SD)), {}),
    "noise on the way": (lambda: tiny.stable_diffusion(EulerAncestralDiscreteScheduler(**SD)), {"noise_key": "5"}),
    "lcm": (lambda: tiny.stable_diffusion(LCMScheduler(**SD), consistency=True), {}),
    "sdxl": (tiny.sdxl, {"negative_prompt": "de", "height": 16, "width": 32}),
    "sdxl-turbo": (lambda: tiny.sdxl(EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **SD)), {"steps": 1}),
    "sd3": (tiny.sd3, {}),
    "flux dev": (tiny.flux, {"height": 32}),
    "flux schnell": (lambda: tiny.flux(guidance_input=False), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_script_draws_our_image(tmp_path: Path, name: str) -> None:
    build, settings = CASES[name]
    made = drawn_from(tmp_path / "model", build(), **settings)
    exported = export_seed(made.found, "diffusers", tmp_path / "out", model=str(tmp_path / "model"))
    assert UNREVIEWED in exported.package.notes
    theirs = runpy.run_path(str(tmp_path / "out" / "draw.py"))["image"]
    same_pixels(np.asarray(theirs), made.image)
    assert (tmp_path / "out" / "image.png").is_file()


def test_the_tensor_is_in_the_pipelines_layout() -> None:
    made = drawn(tiny.flux())
    package = for_diffusers(made.found, made.sampler, made.folder)
    assert load(package.files["seed.safetensors"])["latents"].shape == (1, 16, 16)


def test_a_model_of_a_hub_is_loaded_at_its_pinned_revision() -> None:
    card = CARD.model_copy(update={"name": "a/b", "source": f"a/b@{'1' * 40}", "revision": "1" * 40})
    made = drawn(tiny.sdxl(), card=card)
    assert f"'a/b',\n    revision='{'1' * 40}'," in script(made.found, made.folder, adds_noise=False)
    assert "'nowhere',\n    dtype" in script(made.found, replace(made.folder, named=True), adds_noise=False)


def test_nothing_of_the_pipelines_own_changes_the_image() -> None:
    made = drawn(tiny.sdxl())
    index = {**made.folder.index, "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    text = script(made.found, replace(made.folder, index=index), adds_noise=False)
    for option in ("safety_checker=None", "requires_safety_checker=False", "add_watermarker=False"):
        assert option in text
    assert "generator" not in text


def test_rounding_of_half_precision_is_told() -> None:
    made = drawn(tiny.stable_diffusion().to(torch.bfloat16))
    package = for_diffusers(made.found, made.sampler, made.folder)
    assert load(package.files["seed.safetensors"])["latents"].dtype == torch.bfloat16
    assert "in bfloat16 a pipeline also rounds latents between steps" in package.notes[1]
