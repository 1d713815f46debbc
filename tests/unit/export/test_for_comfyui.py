"""What ComfyUI does with the exported files, restated here from its source, gives our image."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from safetensors.torch import load
from torch import Tensor

from seedbank.errors import RefusedError
from seedbank.export.for_comfyui import for_comfyui
from seedbank.selection.sampling.sampler import to_pixels
from support import pipelines as tiny
from support.exports import Drawn, drawn, with_usual_codec
from support.tolerance import same_pixels

SD = {"steps_offset": 1, **tiny.BETAS}
SCALES = {"sd": (0.18215, 0.0), "sdxl": (0.13025, 0.0), "sd3": (1.5305, 0.0609), "flux": (0.3611, 0.1159)}
KARRAS = {"use_karras_sigmas": True, **SD}


def model(family: str, scheduler: Any = None, **settings: Any) -> Any:
    """A tiny pipeline whose codec is scaled as its family's is."""
    build: Callable[..., Any] = {
        "sd": tiny.stable_diffusion,
        "sdxl": tiny.sdxl,
        "sd3": tiny.sd3,
        "flux": tiny.flux,
    }[family]
    scale, shift = SCALES[family]
    return with_usual_codec(build(scheduler), scaling_factor=scale, shift_factor=shift or None, **settings)


CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "sd DDIM": ("sd", None, {"negative_prompt": "de"}),
    "sd DDIM to the first timestep": (
        "sd",
        DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **SD),
        {"steps": 20},
    ),
    "sd Euler v": ("sd", EulerDiscreteScheduler(prediction_type="v_prediction", timestep_spacing="leading", **SD), {}),
    "sd DPM++": ("sd", DPMSolverMultistepScheduler(**KARRAS), {"steps": 6}),
    "sd DPM++ of first order": ("sd", DPMSolverMultistepScheduler(solver_order=1, **SD), {}),
    "sdxl": ("sdxl", None, {}),
    "sdxl-turbo": ("sdxl", EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **SD), {"steps": 1}),
    "sd3": ("sd3", None, {}),
    "flux": ("flux", None, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_comfyui_draws_our_image(name: str) -> None:
    family, scheduler, settings = CASES[name]
    pipeline = model(family, scheduler)
    made = drawn(pipeline, **settings)
    files = for_comfyui(made.found, made.sampler, made.folder).files
    same_pixels(to_pixels(comfyui(files, pipeline, made, *SCALES[family]))[0], made.image)


def comfyui(files: Mapping[str, bytes], pipeline: Any, made: Drawn, scale: float, shift: float) -> Tensor:
    """The images in 0..1 of a graph: LoadLatent, SamplerCustomAdvanced without noise, VAEDecode."""
    inputs = {node["class_type"]: node["inputs"] for node in json.loads(files["workflow.json"]).values()}
    tensors = load(files[inputs["LoadLatent"]["latent"]])
    assert tensors["latent_format_version_0"].numel() == 0
    latent = (tensors["latent_tensor"].float() - shift) * scale
    sigmas = torch.tensor([float(text) for text in re.findall(r"\d*\.*\d+", inputs["ManualSigmas"]["sigmas"])])
    flow, kind = shift != 0, inputs.get("ModelSamplingDiscrete", {}).get("sampling")
    x = (1.0 - sigmas[0]) * latent if flow else latent
    table = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
    log_sigmas = ((1 - table) / table).sqrt().log()
    family, before = made.sampler.family, None
    cfg = inputs.get("CFGGuider", {}).get("cfg") or inputs.get("FluxGuidance", {}).get("guidance") or 1.0

    def denoised(x: Tensor, sigma: Tensor) -> Tensor:
        time = sigma * 1000 if flow else (log_sigmas - sigma.log()).abs().argmin()
        inside = x if flow else x / (sigma**2 + 1) ** 0.5
        output = family.predict(inside, time, made.sampler.condition, cfg)
        if kind == "v_prediction":
            return x / (sigma**2 + 1) - output * sigma / (sigma**2 + 1) ** 0.5
        return x - output * sigma

    with torch.no_grad():
        for index, (sigma, then) in enumerate(pairwise(sigmas)):
            clean = denoised(x, sigma)
            if inputs["KSamplerSelect"]["sampler_name"] == "euler":
                x = x + (x - clean) / sigma * (then - sigma)
                continue
            h = sigma.log() - then.log()
            line = clean
            if before is not None and then > 0:
                r = (sigmas[index - 1].log() - sigma.log()) / h
                line = (1 + 1 / (2 * r)) * clean - 1 / (2 * r) * before
            x, before = then / sigma * x - (-h).expm1() * line, clean
        return pipeline.vae.decode(x / scale + shift).sample / 2 + 0.5


def test_the_graph_hangs_together() -> None:
    made = drawn(model("sdxl"))
    graph = json.loads(for_comfyui(made.found, made.sampler, made.folder).files["workflow.json"])
    links = [value for node in graph.values() for value in node["inputs"].values() if isinstance(value, list)]
    assert all(number in graph for number, _ in links)
    texts = [node["inputs"]["text"] for node in graph.values() if node["class_type"] == "CLIPTextEncode"]
    assert texts == [r"ab \(c\)"]  # the empty negative prompt is zeros
    assert "ConditioningZeroOut" in {node["class_type"] for node in graph.values()}


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        (tiny.stable_diffusion, r"this model's are 2 pixels, 0\.18215 and 0"),
        (
            lambda: with_usual_codec(tiny.sdxl(), scaling_factor=0.5),
            r"scaled by 0\.13025 and shifted by 0.*8 pixels, 0\.5 and 0",
        ),
        (lambda: tiny.stable_diffusion(consistency=True), "no node that samples a LatentConsistencyModelPipeline"),
        (
            lambda: model("sd", DDIMScheduler(clip_sample=False, steps_offset=1)),
            "no noise schedule but Stable Diffusion's",
        ),
        (lambda: model("sd", EulerAncestralDiscreteScheduler(**SD)), "adds noise on the way"),
        (
            lambda: model("sd", DPMSolverMultistepScheduler(solver_type="heun", **SD)),
            "only by the midpoint rule down to no noise",
        ),
        (
            lambda: model("sd", DDIMScheduler(clip_sample=False, prediction_type="sample", **SD)),
            "predicts images, not noise or velocity",
        ),
        (
            lambda: model(
                "sd",
                DDIMScheduler(
                    clip_sample=False,
                    prediction_type="v_prediction",
                    rescale_betas_zero_snr=True,
                    timestep_spacing="trailing",
                    **SD,
                ),
            ),
            "begin at pure noise",
        ),
    ],
    ids=["factor", "scale", "lcm", "betas", "ancestral", "heun", "sample", "zero snr"],
)
def test_what_comfyui_would_draw_otherwise_is_refused(pipeline: Callable[[], Any], reason: str) -> None:
    made = drawn(pipeline())
    with pytest.raises(RefusedError, match=f"ComfyUI cannot draw this seed's image: .*{reason}.*--to diffusers"):
        for_comfyui(made.found, made.sampler, made.folder)
