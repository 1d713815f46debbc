"""The web UI is told an integer only where it draws the same noise from it, and steps that it can take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

from seedbank.errors import RefusedError
from seedbank.export.for_a1111 import Choice, choose, for_a1111
from seedbank.export.levels import levels_of
from seedbank.export.run import export_seed
from seedbank.selection.sampling.noise import GENERATOR, NEGATED
from seedbank.selection.seeds import Lineage, Seed
from support import pipelines as tiny
from support.exports import drawn, with_usual_codec

SD = {"steps_offset": 1, **tiny.BETAS}


def stable_diffusion(scheduler: Any = None) -> Any:
    return with_usual_codec(tiny.stable_diffusion(scheduler), scaling_factor=0.18215)


def relabelled(**lineage: Any) -> Any:
    return lambda seed: Seed(seed.latents, Lineage(**lineage))


def test_the_web_ui_draws_our_noise_from_the_integer() -> None:
    made = drawn(stable_diffusion(), steps=20, negative_prompt="[de]")
    package = for_a1111(made.found, made.sampler, made.folder)
    call = json.loads(package.files["txt2img.json"])
    noise = torch.randn((4, 8, 8), generator=torch.Generator("cpu").manual_seed(call["seed"]))  # modules/rng.py
    assert np.array_equal(noise.numpy(), made.found.seed.latents)
    assert call["override_settings"]["randn_source"] == "CPU"
    text = package.files["parameters.txt"].decode()
    assert text.startswith(
        "ab \\(c\\)\nNegative prompt: \\[de\\]\nSteps: 20, Sampler: Euler, Schedule type: DDIM, CFG scale: 7.5, "
    )
    assert f"Seed: {made.found.seed.lineage.integer}, Size: 64x64, RNG: CPU, SGM noise multiplier: True" in text
    assert any("--use-textbox-seed" in note for note in package.notes)


@pytest.mark.parametrize(
    ("scheduler", "choice"),
    [
        (DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **SD), Choice("DDIM", "DDIM", True)),
        (EulerDiscreteScheduler(timestep_spacing="leading", **SD), Choice("Euler", "DDIM", True)),
        (EulerDiscreteScheduler(timestep_spacing="trailing", **SD), Choice("Euler", "Simple", False)),
        (EulerDiscreteScheduler(**SD), Choice("Euler", "Uniform", False)),
        (EulerDiscreteScheduler(use_karras_sigmas=True, **SD), Choice("Euler", "Karras", False)),
        (DPMSolverMultistepScheduler(use_karras_sigmas=True, **SD), Choice("DPM++ 2M", "Karras", True)),
    ],
    ids=["DDIM", "leading", "trailing", "linspace", "Euler karras", "DPM++ karras"],
)
def test_the_sampler_and_schedule_type_are_those_with_the_same_levels(scheduler: Any, choice: Choice) -> None:
    assert choose(levels_of(drawn(tiny.stable_diffusion(scheduler), steps=20).sampler, "it"), 20) == choice


def test_levels_that_nothing_there_has_are_refused() -> None:
    pipeline = tiny.stable_diffusion(EulerDiscreteScheduler(use_karras_sigmas=True, **SD))
    levels = levels_of(drawn(pipeline, steps=20).sampler, "it")
    with pytest.raises(RefusedError, match="none of its schedule types has these 20 noise levels"):
        choose(replace(levels, sigmas=(*levels.sigmas[:-1], 0.01)), 20)
    with pytest.raises(RefusedError, match="no setting that multiplies the noise with 1"):
        choose(replace(levels, start=1.0), 20)


@pytest.mark.parametrize(
    ("seed", "reason"),
    [
        (relabelled(kind="optimised", parents=("1" * 64,)), "this one was optimised, and no integer gives its noise"),
        (relabelled(kind="mix", parents=("1" * 64,)), "made from other seeds"),
        (relabelled(kind="drawn", generator=NEGATED, integer="7"), "the noise of 7 negated"),
        (relabelled(kind="drawn", generator="numpy", integer="7"), "drawn by 'numpy'"),
        (relabelled(kind="drawn", generator=GENERATOR, integer="7"), "other noise from 7"),
    ],
    ids=["optimised", "mix", "negated", "generator", "numbers"],
)
def test_a_seed_of_no_integer_is_refused_before_a_model_is_loaded(tmp_path: Path, seed: Any, reason: str) -> None:
    plain = drawn(tiny.stable_diffusion()).found
    with pytest.raises(RefusedError, match=f"draws its noise itself, from an integer: .*{reason}.*--to comfyui"):
        export_seed(replace(plain, seed=seed(plain.seed)), "a1111", tmp_path)


def test_another_family_is_refused() -> None:
    made = drawn(tiny.flux())
    with pytest.raises(RefusedError, match="it does not draw with a FluxPipeline; export it with --to diffusers"):
        for_a1111(made.found, made.sampler, made.folder)
