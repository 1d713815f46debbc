"""For ComfyUI: a ``.latent`` file that is the start noise, and a graph of nodes, in the format of its API, that draws it.

What ComfyUI does with a latent, and so what the file must hold. ``LoadLatent`` takes the file's tensor as it is. A sampler brings it to
the model's scale (``process_in``: ``L_in = (L - shift)·scale``) and adds noise (``noise_scaling``), here none (``DisableNoise``)::

    diffusion    x = sigma0·0 + L_in                    so  L_in = start·z
    flow         x = sigma0·0 + (1 - sigma0)·L_in       so  L_in = start·z / (1 - sigma0)

A flow begins at ``sigma0 = 1``, where nothing of a latent is left. So it is begun a 2^-20th earlier, which divides exactly and which no
network tells from 1. ``ManualSigmas`` gives the levels themselves, since none of ComfyUI's schedulers has all of diffusers' spacings.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seedbank.export.files import ModelFolder, Package
from seedbank.export.levels import Levels, check_model, levels_of, refusal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from seedbank.export.finds import FoundSeed
    from seedbank.selection.sampling.sampler import Sampler

GRAPH = "workflow.json"
TOOL = "ComfyUI"
BEFORE_ONE = 1 - 2.0**-20
"""The first noise level of a flow."""


@dataclass(frozen=True)
class Format:
    """What ComfyUI takes a family's latents for: ``L_in = (L - shift)·scale``."""

    scale: float
    shift: float = 0.0
    flow: bool = False


FORMATS = {
    "StableDiffusionPipeline": Format(0.18215),
    "StableDiffusionXLPipeline": Format(0.13025),
    "StableDiffusion3Pipeline": Format(1.5305, 0.0609, flow=True),
    "FluxPipeline": Format(0.3611, 0.1159, flow=True),
}
"""As ``comfy/latent_formats.py`` has them, by diffusers' name."""

Graph = dict[str, dict[str, Any]]


def for_comfyui(found: FoundSeed, sampler: Sampler, folder: ModelFolder) -> Package:
    """The latent, and the graph.

    Raises:
        RefusedError: ComfyUI would draw another image.
    """
    known = FORMATS.get(folder.pipeline)
    if not known:
        raise refusal(TOOL, f"it has no node that samples a {folder.pipeline}")
    check_model(sampler, folder, TOOL, scale=known.scale, shift=known.shift)
    levels = levels_of(sampler, TOOL)
    name = f"seedbank-{found.seed.digest[:12]}.latent"
    graph = nodes(found, folder, levels, latent=name)
    files = {
        name: latent_file(start_latent(found.seed.latents, levels, known), found.seed.digest),
        GRAPH: json.dumps(graph, indent=2, ensure_ascii=False).encode(),
    }
    return Package(files, tuple(_notes(name, levels, known, sampler)))


def start_latent(noise: npt.NDArray[np.float32], levels: Levels, known: Format) -> npt.NDArray[np.float32]:
    """What ``LoadLatent`` must give, ``[1, C, h, w]``, so that sampling begins with ``start`` times ``noise`` ``[C, h, w]``."""
    import numpy as np

    # In float64 and rounded once: a flow's are some 2^20 large.
    start = noise[None].astype(np.float64) * levels.start
    if known.flow:
        start = start / (1 - _first(levels))
    return (start / known.scale + known.shift).astype(np.float32)


def latent_file(latent: npt.NDArray[np.float32], digest: str) -> bytes:
    """As ``SaveLatent`` writes it; without the empty tensor, ``LoadLatent`` would divide by an old scale."""
    import numpy as np
    from safetensors.numpy import save

    tensors = {"latent_tensor": np.ascontiguousarray(latent), "latent_format_version_0": np.zeros(0, np.float32)}
    return save(tensors, {"seedbank.seed": digest})


def nodes(found: FoundSeed, folder: ModelFolder, levels: Levels, *, latent: str) -> Graph:
    """The graph: loaders, prompts, guidance, levels, the sampler, and the codec."""
    flow, config = FORMATS[folder.pipeline].flow, found.sampler
    graph, model, clip, codec = _loaders(folder, found.model.name.rpartition("/")[2])
    if not flow:
        kind = {"epsilon": "eps"}.get(levels.prediction, levels.prediction)
        model = _add(graph, "ModelSamplingDiscrete", model=model, sampling=kind, zsnr=False)
    positive = _add(graph, "CLIPTextEncode", clip=clip, text=escaped(found.prompt))
    if folder.pipeline == "FluxPipeline":
        if config.guidance_scale > 0:  # one that takes none, schnell, leaves it unread
            positive = _add(graph, "FluxGuidance", conditioning=positive, guidance=config.guidance_scale)
        guider = _add(graph, "BasicGuider", model=model, conditioning=positive)
    elif config.guidance_scale > 1:
        negative = _negative(graph, folder, clip, positive, config.negative_prompt)
        guider = _add(graph, "CFGGuider", model=model, positive=positive, negative=negative, cfg=config.guidance_scale)
    else:
        guider = _add(graph, "BasicGuider", model=model, conditioning=positive)
    drawn = _add(
        graph,
        "SamplerCustomAdvanced",
        noise=_add(graph, "DisableNoise"),
        guider=guider,
        sampler=_add(graph, "KSamplerSelect", sampler_name=levels.sampler),
        sigmas=_add(graph, "ManualSigmas", sigmas=_written(levels, flow=flow)),
        latent_image=_add(graph, "LoadLatent", latent=latent),
    )
    images = _add(graph, "VAEDecode", samples=drawn, vae=codec)
    _add(graph, "SaveImage", images=images, filename_prefix=f"seedbank-{found.seed.digest[:12]}")
    return graph


def escaped(prompt: str) -> str:
    """A prompt whose parentheses are parentheses, and no weights."""
    return re.sub(r"([()])", r"\\\1", prompt)


def _loaders(folder: ModelFolder, name: str) -> tuple[Graph, list[Any], list[Any], list[Any]]:
    """The nodes that load the model from the files its makers publish, and where model, text encoders and codec come out."""
    graph: Graph = {}
    if folder.pipeline == "FluxPipeline":
        model = _add(graph, "UNETLoader", unet_name=f"{name}.safetensors", weight_dtype="default")
        texts = {"clip_name1": "t5xxl_fp16.safetensors", "clip_name2": "clip_l.safetensors"}
        clip = _add(graph, "DualCLIPLoader", **texts, type="flux")
        return graph, model, clip, _add(graph, "VAELoader", vae_name="ae.safetensors")
    model = _add(graph, "CheckpointLoaderSimple", ckpt_name=f"{name}.safetensors")
    clip, codec = [model[0], 1], [model[0], 2]
    if folder.pipeline == "StableDiffusion3Pipeline":
        texts = {f"clip_name{number}": f"{part}.safetensors" for number, part in _SD3_TEXT.items()}
        clip = _add(graph, "TripleCLIPLoader", **texts)
    return graph, model, clip, codec


_SD3_TEXT = {1: "clip_l", 2: "clip_g", 3: "t5xxl_fp16"}


def _negative(graph: Graph, folder: ModelFolder, clip: list[Any], positive: list[Any], prompt: str) -> list[Any]:
    """What is guided away from. Some SDXL models are trained with zeros instead of the empty prompt."""
    zeros = folder.pipeline == "StableDiffusionXLPipeline" and folder.index.get("force_zeros_for_empty_prompt", True)
    if zeros and not prompt:
        return _add(graph, "ConditioningZeroOut", conditioning=positive)
    return _add(graph, "CLIPTextEncode", clip=clip, text=escaped(prompt))


def _add(graph: Graph, kind: str, **inputs: Any) -> list[Any]:
    """Add a node; return the link to its first output."""
    number = str(len(graph) + 1)
    graph[number] = {"class_type": kind, "inputs": inputs}
    return [number, 0]


def _first(levels: Levels) -> float:
    return min(levels.sigmas[0], BEFORE_ONE)


def _written(levels: Levels, *, flow: bool) -> str:
    """The levels as the node reads them: decimals without exponents."""
    sigmas = (_first(levels), *levels.sigmas[1:]) if flow else levels.sigmas
    return ", ".join(f"{sigma:.10f}" for sigma in sigmas)


def _notes(name: str, levels: Levels, known: Format, sampler: Sampler) -> list[str]:
    notes = [
        f"copy {name} into ComfyUI's input folder and open {GRAPH}, or post it to /prompt; it needs the node ManualSigmas of ComfyUI "
        "itself, so a recent version",
        "the loaders name the files as their makers do: choose yours",
        "ComfyUI computes in its own precision and cuts colours off to whole levels, so values may differ by a level or two of 255",
    ]
    if known.flow:
        notes.append(
            "ComfyUI pads the prompt for T5 to another length than diffusers does: the image is the same one, with other details"
        )
    if not levels.whole:
        notes.append("ComfyUI rounds the times of these steps to whole ones: details may differ")
    return [*notes, *(f"{note}; ComfyUI would show it all" for note in sampler.notes)]
