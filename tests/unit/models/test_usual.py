"""How a folder is usually sampled, from its settings alone, beside what its loaded pipeline says; and the profile that quotes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from diffusers import EulerAncestralDiscreteScheduler, LCMScheduler

from seedbank.models.adding import new_profile
from seedbank.models.usual import usual_sampling
from seedbank.selection.sampling.families import adapt
from support import pipelines as tiny


@pytest.mark.parametrize(
    "build",
    [
        tiny.stable_diffusion,
        lambda: tiny.stable_diffusion(LCMScheduler(steps_offset=1, **tiny.BETAS), consistency=True),
        lambda: tiny.sdxl(EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **tiny.BETAS)),
        tiny.sdxl,
        tiny.sd3,
    ],
    ids=["sd", "consistency", "turbo", "sdxl", "sd3"],
)
def test_settings_alone_say_what_the_loaded_pipeline_does(build: Callable[[], Any], tmp_path: Path) -> None:
    pipeline = build()
    pipeline.save_pretrained(tmp_path)
    for weights in tmp_path.rglob("*.safetensors"):
        weights.unlink()
    usual = adapt(pipeline).sampling()
    assert usual_sampling(tmp_path) == usual
    text = new_profile("engine", str(tmp_path))
    assert (
        f"# Usually {{num_inference_steps: {usual.steps}, guidance_scale: {usual.guidance:g}, height: 16, width: 16}}."
        in text
    )
    assert yaml.safe_load(text)["sampler"] == {}


@pytest.mark.parametrize(("guidance", "steps"), [(True, 28), (False, 4)])
def test_a_flux_is_usually_drawn_at_1024(guidance: bool, steps: int, tmp_path: Path) -> None:
    pipeline = tiny.flux(guidance_input=guidance)
    pipeline.save_pretrained(tmp_path)
    found = usual_sampling(tmp_path)
    assert found
    assert (found.steps, found.side) == (steps, 128 * pipeline.vae_scale_factor)


def test_of_a_folder_that_says_too_little_nothing_is_said(tmp_path: Path) -> None:
    assert usual_sampling(tmp_path) is None
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    assert usual_sampling(tmp_path) is None
