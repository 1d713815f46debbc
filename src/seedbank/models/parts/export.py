"""Write trained networks as the folders that diffusers and transformers load: fp16 safetensors, whole folders or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from seedbank.models.parts import diffusion, judges
from seedbank.models.parts import vae as codec
from seedbank.models.parts.text import build_tokenizer

PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 64},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 64, "width": 64},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def export_pipeline(work: Path, out: Path) -> None:
    """Write ``out/pipeline`` from the averaged weights of the latest checkpoints."""
    vae: Any = codec.latest(work).model
    vae.register_to_config(scaling_factor=diffusion.encode_world(work).scaling_factor)
    model = diffusion.latest(work).model
    unet, text = (model.get_submodule(name) for name in ("unet", "text"))
    pipeline = diffusion.pipeline(vae, unet, text, build_tokenizer()).to(dtype=torch.float16)
    with _replaced(out / "pipeline") as folder:
        pipeline.save_pretrained(folder, safe_serialization=True, variant=None)
        _write_json(folder / "seedbank.json", diffusion.SAMPLER)


def export_judge(stage: str, work: Path, out: Path) -> None:
    """Write ``out/auditor``, ``out/encoder`` or ``out/guard`` likewise."""
    network: Any = judges.latest(stage, work).model
    with _replaced(out / stage) as folder:
        network.to(dtype=torch.float16).save_pretrained(folder, safe_serialization=True)
        _write_json(folder / "preprocessor_config.json", PREPROCESSOR)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of `folder` once the block has filled it."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
