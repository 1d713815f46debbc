"""Whether a judge is half of the network that a pipeline reads its prompts with.

A CLIP has a half that reads and a half that sees, learnt together. Where a pipeline reads with the one and is judged by the other, the
judge says of an image what the prompt already did.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MARK = "embeddings.position_embedding.weight"
"""A small weight that every CLIP text encoder has, however many of its last layers a pipeline leaves out."""
ALIKE = 0.01
"""Relative difference up to which two of these are one: half precision rounds to less, another training is far from it."""


def shared_text_encoder(pipeline: Any, folder: Path) -> str:
    """The name of the text encoder of ``pipeline`` that is the reading half of the model in ``folder``; empty where none is."""
    marks = list(_text_marks(folder))
    for name in ("text_encoder", "text_encoder_2"):
        encoder = getattr(pipeline, name, None)
        for key, weight in encoder.state_dict().items() if encoder is not None else ():
            if key.endswith(MARK) and any(_alike(weight, mark) for mark in marks):
                return name
    return ""


def _text_marks(folder: Path) -> Iterator[Tensor]:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = [key for key in list(file.keys()) if key.endswith(MARK) and "vision" not in key]
            yield from map(file.get_tensor, names)


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    one, other = (weight.detach().to("cpu", torch.float32) for weight in (one, other))
    return bool((one - other).norm() <= ALIKE * other.norm())
