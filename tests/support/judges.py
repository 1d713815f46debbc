"""Tiny random judges of the real transformers classes, saved as folders as a hub has them; 16x16 images in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SIDE = 16
SMALL: dict[str, int] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION: dict[str, int] = {**SMALL, "image_size": SIDE, "patch_size": 4}
PREPROCESSOR = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def clip(folder: Path, *, seed: int = 1) -> Path:
    """A whole CLIP: text and vision, as most repositories ship it."""
    from transformers import CLIPConfig, CLIPModel

    text = {**SMALL, "vocab_size": 40, "max_position_embeddings": 8}
    return _saved(CLIPModel, CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8), folder, seed)


def siglip(folder: Path, *, seed: int = 2) -> Path:
    """A whole SigLIP."""
    from transformers import SiglipConfig, SiglipModel

    text = {**SMALL, "vocab_size": 40, "max_position_embeddings": 8}
    return _saved(SiglipModel, SiglipConfig(text_config=text, vision_config=VISION), folder, seed)


def dinov2(folder: Path, *, seed: int = 3) -> Path:
    """A DINOv2."""
    from transformers import Dinov2Config, Dinov2Model

    return _saved(Dinov2Model, Dinov2Config(**VISION, mlp_ratio=1), folder, seed)


def _saved(kind: Any, config: Any, folder: Path, seed: int) -> Path:
    import torch

    torch.manual_seed(seed)
    return saved(kind(config), folder)


def saved(judge: Any, folder: Path) -> Path:
    """A judge in ``folder``, with what it says of images."""
    judge.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder
