"""The three judges: the *encoder* whose gradient is followed, the *guard* that accepts, the *auditor* that only reports."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.models.card import SHIPPED, ModelCard
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
class Network:
    """One vision network, from images to features."""

    module: Any
    output: str
    """Which output of the network is the embedding."""
    preprocess: Preprocess
    card: ModelCard

    def features(self, images01: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in 0..1 to ``[B, D]``, float32."""
        pixels = self.preprocess(images01.to(self.module.device)).to(self.module.dtype)
        features: Tensor = getattr(self.module(pixel_values=pixels), self.output)
        # [B, D] or [B, D, 1, 1] (a ResNet's pooled output) to [B, D]; lengths are taken in float32.
        return features.flatten(1).float()


@dataclass(frozen=True)
class Embedder:
    """Images to unit vectors, by one network or by several. Differentiable with respect to the images.

    Of several, the unit vectors stand side by side, each shortened alike, so that the cosine of two images is the mean of the networks'
    cosines.
    """

    networks: tuple[Network, ...]

    @property
    def card(self) -> ModelCard:
        """Which model it is."""
        cards = [network.card for network in self.networks]
        return cards[0] if len(cards) == 1 else ModelCard.joint(cards)

    @property
    def size(self) -> int:
        """Side in pixels of what the network sees; of several, of the one that sees most."""
        return max(network.preprocess.size for network in self.networks)

    def __call__(self, images01: Tensor) -> Tensor:
        """``[B, 3, H, W]`` in 0..1 to ``[B, D]`` of length 1, float32."""
        return F.normalize(self.features(images01), dim=-1)

    def features(self, images01: Tensor) -> Tensor:
        """Like :meth:`__call__`, before the length is taken out; of several networks it is taken out of each."""
        found = [network.features(images01) for network in self.networks]
        return found[0] if len(found) == 1 else torch.cat([F.normalize(each, dim=-1) for each in found], -1)

    def to(self, device: torch.device | str) -> Embedder:
        """This embedder, its networks moved to ``device``."""
        for network in self.networks:
            network.module.to(device)
        return self


@torch.no_grad()
def check_numbers(judge: Embedder, images01: Tensor, *, what: str) -> None:
    """Ask ``judge`` about photos before anything rests on its word.

    Raises:
        UsageError: a network gives no numbers (NaN or infinities) for one of ``images01``; ``what`` says which judge it is.
    """
    for network in judge.networks:
        sound = network.features(images01).isfinite().all(1)
        if not bool(sound.all()):
            raise UsageError(
                f"expected numbers from the {what} {network.card.label}, got NaN or infinity for {int((~sound).sum())} of "
                f"{len(sound)} photos: its weights are broken or of another model; fetch it again or name another"
            )


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


def load_encoder(*sources: str, device: torch.device = CPU) -> Embedder:
    """The vision encoder of the semantic loss, or several; the shipped model's where none is named. See :func:`load_guard`."""
    return Embedder(tuple(_load_network(source, "encoder", device) for source in sources or (SHIPPED,)))


def load_guard(*sources: str, device: torch.device = CPU) -> Embedder:
    """The embedding model that accepts or rejects, or several; the shipped model's where none is named.

    Each is a CLIP or SigLIP, whose vision half is loaded, or any ``AutoModel`` with a pooled output (a DINOv2, a ResNet).

    Raises:
        UsageError: no such model, no safetensors, no preprocessing, or a network that gives no embedding.
        OutsideError: the hub could not be reached.
    """
    return Embedder(tuple(_load_network(source, "guard", device) for source in sources or (SHIPPED,)))


def load_auditor(source: str = "parts", *, device: torch.device = CPU) -> Auditor:
    """The classifier that reports: any ``AutoModelForImageClassification``."""
    from transformers import AutoModelForImageClassification

    folder = find_model(source, "auditor")
    network = _load(AutoModelForImageClassification, folder, device, source)
    names = network.config.id2label
    # Labels in the order of the logits.
    return Auditor(network, tuple(names[number] for number in sorted(names)), *_setting(folder, source))


VISION = {
    "clip": ("CLIPVisionModelWithProjection", "image_embeds"),
    "clip_vision_model": ("CLIPVisionModelWithProjection", "image_embeds"),
    "siglip": ("SiglipVisionModel", "pooler_output"),
    "siglip_vision_model": ("SiglipVisionModel", "pooler_output"),
    "siglip2": ("Siglip2VisionModel", "pooler_output"),
}
"""By the model type in ``config.json``: the class that holds only what sees, and its embedding. All others: an ``AutoModel``, pooled."""


def _load_network(source: str, part: str, device: torch.device) -> Network:
    import transformers

    folder = find_model(source, part)
    config = _config(folder, source)
    name, output = VISION.get(config["model_type"], ("AutoModel", "pooler_output"))
    # A whole CLIP says how long its embeddings are beside its vision half, whose own default is another.
    own = {key: config[key] for key in ("projection_dim",) if key in config and output == "image_embeds"}
    network = _load(getattr(transformers, name), folder, device, source, **own)
    return Network(network, output, *_setting(folder, source))


def _config(folder: Path, source: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text())
        return {**config, "model_type": str(config["model_type"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"expected the config.json of a vision model in {source!r}: {error!r}; name a folder that has one"
        ) from error


def _load(kind: Any, folder: Path, device: torch.device, source: str, **own: Any) -> Any:
    options = {**own, "use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            # Float32 whatever the pipeline's arithmetic: thresholds and recorded scores must mean the same.
            network, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **options)
    except Exception as error:  # transformers, safetensors and torch have no common root
        why = str(error).splitlines()[0] if str(error) else "no reason given"
        raise UsageError(
            f"cannot load {source!r}: {type(error).__name__}: {why}; check that the download is complete, or name another"
        ) from error
    _check_sees(network, report["missing_keys"], source)
    return network.eval().requires_grad_(False).to(device)


def _check_sees(network: Any, missing: Collection[str], source: str) -> None:
    if network.main_input_name != "pixel_values":
        raise UsageError(
            f"expected a vision model in {source!r}, got {type(network).__name__}, which takes {network.main_input_name}; name a CLIP, a "
            "SigLIP, a DINOv2 or another that sees"
        )
    # What is missing transformers fills with random numbers, and a judge with them would judge all the same.
    if missing:
        raise UsageError(
            f"expected all weights of {type(network).__name__} in {source!r}, {len(missing)} are missing ({min(missing)}); fetch it again, "
            "or name a model that has what it embeds with"
        )


def _setting(folder: Path, source: str) -> tuple[Preprocess, ModelCard]:
    return Preprocess.load(folder), describe(folder, source=source)
