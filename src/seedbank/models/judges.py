"""The three judges: the *encoder* whose gradient is followed, the *guard* that accepts, the *auditor* that only reports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.models.card import ModelCard
from seedbank.models.files import describe, find_model, quiet


@dataclass(frozen=True)
class Preprocess:
    """From images in 0..1 of any size to what a network takes: shorter side to ``size``, centre crop, normalise.

    Differentiable, and the same function for references and generated images, so that no gap between two resizers can be optimised.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    antialias: bool = True

    def __call__(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in 0..1 to ``[B, 3, size, size]``, normalised."""
        height, width = images.shape[-2:]
        short = min(height, width)
        if short != self.size:
            shape = (round(height * self.size / short), round(width * self.size / short))
            images = F.interpolate(images, shape, mode="bicubic", align_corners=False, antialias=self.antialias)
        top, left = (images.shape[-2] - self.size) // 2, (images.shape[-1] - self.size) // 2
        images = images[..., top : top + self.size, left : left + self.size]
        return (images - images.new_tensor(self.mean)[:, None, None]) / images.new_tensor(self.std)[:, None, None]

    @classmethod
    def load(cls, folder: Path) -> Preprocess:
        """Read ``preprocessor_config.json``: ``image_mean``, ``image_std`` and ``crop_size`` or ``size``."""
        try:
            config = json.loads((folder / "preprocessor_config.json").read_text())
            size = config.get("crop_size") or config["size"]
            # A number, {shortest_edge} or {height, width}: transformers has written all three.
            side = size if isinstance(size, int) else size.get("shortest_edge") or size["height"]
            return cls(int(side), tuple(config["image_mean"]), tuple(config["image_std"]))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UsageError(
                f"expected preprocessor_config.json with size, image_mean and image_std in {folder}: {error!r}"
            ) from error


@dataclass(frozen=True)
class Embedder:
    """Images to unit vectors. Differentiable with respect to the images."""

    network: Any
    output: str
    """Which output of the network is the embedding."""
    preprocess: Preprocess
    card: ModelCard

    @property
    def size(self) -> int:
        """Side in pixels of what the network sees."""
        return self.preprocess.size

    def __call__(self, images01: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in 0..1 to ``[B, D]`` of length 1, float32."""
        return F.normalize(self.features(images01), dim=-1)

    def features(self, images01: Tensor) -> Tensor:
        """Like :meth:`__call__`, before the length is taken out."""
        pixels = self.preprocess(images01).to(self.network.dtype)
        features: Tensor = getattr(self.network(pixel_values=pixels), self.output)
        # [B, D] or [B, D, 1, 1] (a ResNet's pooled output) to [B, D]; lengths are taken in float32.
        return features.flatten(1).float()


@dataclass(frozen=True)
class Auditor:
    """A classifier of the concepts themselves, used to report and never to search or to accept."""

    network: Any
    labels: tuple[str, ...]
    preprocess: Preprocess
    card: ModelCard

    def __call__(self, images01: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in 0..1 to logits ``[B, len(labels)]``, float32."""
        logits: Tensor = self.network(pixel_values=self.preprocess(images01).to(self.network.dtype)).logits
        return logits.float()


CPU = torch.device("cpu")


def load_encoder(source: str = "parts", *, device: torch.device = CPU) -> Embedder:
    """The vision encoder of the semantic loss: any ``CLIPVisionModelWithProjection``."""
    from transformers import CLIPVisionModelWithProjection

    folder = find_model(source, "encoder")
    return Embedder(_load(CLIPVisionModelWithProjection, folder, device), "image_embeds", *_setting(folder, source))


def load_guard(source: str = "parts", *, device: torch.device = CPU) -> Embedder:
    """The embedding model that accepts or rejects: any ``AutoModel`` with a pooled output (a ResNet, a DINOv2)."""
    from transformers import AutoModel

    folder = find_model(source, "guard")
    return Embedder(_load(AutoModel, folder, device), "pooler_output", *_setting(folder, source))


def load_auditor(source: str = "parts", *, device: torch.device = CPU) -> Auditor:
    """The classifier that reports: any ``AutoModelForImageClassification``."""
    from transformers import AutoModelForImageClassification

    folder = find_model(source, "auditor")
    network = _load(AutoModelForImageClassification, folder, device)
    names = network.config.id2label
    # Labels in the order of the logits.
    return Auditor(network, tuple(names[number] for number in sorted(names)), *_setting(folder, source))


def _load(kind: Any, folder: Path, device: torch.device) -> Any:
    options = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    with quiet():
        # Float32 whatever the pipeline's arithmetic: thresholds and recorded scores must mean the same.
        network = kind.from_pretrained(folder, dtype=torch.float32, **options)
    return network.eval().requires_grad_(False).to(device)


def _setting(folder: Path, source: str) -> tuple[Preprocess, ModelCard]:
    return Preprocess.load(folder), describe(folder, source=source)
