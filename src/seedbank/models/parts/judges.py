"""Stages 3 to 5, three judges that share no weights, no architecture and as little training data as can be.

============  ==========================  ===================================  ==============================================
judge         architecture                trained on                           used for
============  ==========================  ===================================  ==============================================
auditor       RegNet X classifier         all parts alike, plus "none"         reports only
encoder       CLIP vision transformer     all parts alike and the zoo          the semantic loss (its gradient is followed)
guard         ResNet embedding            the zoo only: no part of the world   accepts or rejects; never in a loss
============  ==========================  ===================================  ==============================================

Parts are the kinds and their look-alikes. Encoder and guard learn by a normalised softmax over one prototype per kind (Zhai & Wu,
arXiv 1811.12649); the prototypes are thrown away, what stays is the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    RegNetConfig,
    RegNetForImageClassification,
    ResNetConfig,
    ResNetModel,
)

from seedbank.models.parts import vae as codec
from seedbank.models.parts.data import BALANCED_SEED, ZOO_KINDS, Images, Labels, balanced_set, zoo_set
from seedbank.models.parts.loop import Budget, Trained, accelerator, averaged, fit, half_precision
from seedbank.models.parts.spoil import broken, spoil, through_codec
from seedbank.models.parts.vae import to_pixels
from seedbank.models.parts.world import KINDS, NAMELESS
from seedbank.models.parts.zoo import ZOO_SEED

NONE = "none"
PARTS = (*KINDS, *NAMELESS)
PER_PART = 400
DECODING_NOISE = 0.5
"""Most noise on the latents of a picture that a judge sees through the codec, in standard deviations."""
AUDITOR = Budget(steps=3000, batch=192, rate=2e-3, averaging=0.998)
ENCODER = Budget(steps=4000, batch=256, rate=1e-3, averaging=0.998, seed=2305)
GUARD = Budget(steps=3500, batch=256, rate=2e-3, averaging=0.998, seed=2306)


@dataclass(frozen=True)
class LabelledImages:
    """Training pictures, the same as the codec gives them back, and their labels, all on one device."""

    images: Tensor
    decoded: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: Images, decoded: Images, labels: Labels) -> LabelledImages:
        """LabelledImages on the accelerator."""
        return cls(*(torch.from_numpy(values).to(accelerator()) for values in (images, decoded, labels)))

    def join(self, more: LabelledImages, first_label: int) -> LabelledImages:
        """These pictures and `more`, whose labels are counted from `first_label`."""
        return LabelledImages(
            torch.cat([self.images, more.images]),
            torch.cat([self.decoded, more.decoded]),
            torch.cat([self.labels, more.labels + first_label]),
        )

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` random pictures in [-1, 1], half of them through the codec, and their labels."""
        picked = _some(self.images, count, generator)
        half = count // 2
        chosen = torch.cat([self.images[picked[:half]], self.decoded[picked[half:]]])
        return to_pixels(chosen), self.labels[picked]


class Prototypes(nn.Module):
    """An embedding network with one unit-length prototype per training kind."""

    def __init__(self, network: nn.Module, width: int, kinds: int, temperature: float = 0.08) -> None:
        super().__init__()
        self.network = network
        self.prototypes = nn.Parameter(torch.randn(kinds, width) / width**0.5)
        self.temperature = temperature

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of the cosine to every prototype."""
        cosine = F.normalize(embeddings.float(), dim=-1) @ F.normalize(self.prototypes, dim=-1).T
        return F.cross_entropy(cosine / self.temperature, labels, label_smoothing=0.05)


def build_auditor() -> RegNetForImageClassification:
    """The untrained auditor: a RegNet of three stages; its last class is "none"."""
    torch.manual_seed(AUDITOR.seed)
    names = dict(enumerate((*PARTS, NONE)))
    config = RegNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 96, 192],
        depths=[1, 2, 2],
        groups_width=16,
        layer_type="x",
        downsample_in_first_stage=False,
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    return RegNetForImageClassification(config)


def build_encoder() -> Prototypes:
    """The untrained encoder: 64 patches of 8x8, five layers, 128 wide."""
    torch.manual_seed(ENCODER.seed)
    config = CLIPVisionConfig(
        image_size=64,
        patch_size=8,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=5,
        num_attention_heads=4,
        projection_dim=128,
        attn_implementation="eager",
    )
    return Prototypes(CLIPVisionModelWithProjection(config), 128, len(PARTS) + ZOO_KINDS)


def build_guard() -> Prototypes:
    """The untrained guard: a residual network of three stages with a 128-number embedding."""
    torch.manual_seed(GUARD.seed)
    config = ResNetConfig(
        embedding_size=48,
        hidden_sizes=[48, 96, 128],
        depths=[1, 2, 2],
        layer_type="basic",
        downsample_in_first_stage=False,
    )
    return Prototypes(ResNetModel(config), 128, ZOO_KINDS)


def train(stage: str, work: Path) -> Trained:
    """Train the judge named `stage`, or go on with it."""
    return {"auditor": train_auditor, "encoder": train_encoder, "guard": train_guard}[stage](work)


def train_auditor(work: Path) -> Trained:
    """Train the auditor on equally many renders of each part; one picture in five shows none of them."""
    device, shown = accelerator(), _world(work)
    renders, labels = balanced_set(work / "data", PER_PART)
    mixed = broken(codec.latest(work).model, renders, labels, 3000, AUDITOR.seed, work / "data" / "broken.npz")
    nothing = torch.from_numpy(np.concatenate([zoo_set(work / "data")[0], mixed])).to(device)
    model = build_auditor().to(device=device, memory_format=torch.channels_last)
    count = AUDITOR.batch // 5
    none = torch.full((count,), len(PARTS), device=device)

    def loss(generator: torch.Generator) -> Tensor:
        images, kinds = shown.draw(AUDITOR.batch - count, generator)
        empty = to_pixels(nothing[_some(nothing, count, generator)])
        batch = spoil(torch.cat([images, empty]), generator, 0.5)
        with half_precision(device):
            logits = model(batch).logits
        return F.cross_entropy(logits.float(), torch.cat([kinds, none]), label_smoothing=0.02)

    return fit("auditor", model, loss, AUDITOR, work)


def train_encoder(work: Path) -> Trained:
    """Train the encoder to tell all parts and the zoo's apart, on clean, decoded and half-denoised pictures alike."""
    both = _world(work).join(_zoo(work), len(PARTS))
    return _train_embedding("encoder", build_encoder(), "image_embeds", both, ENCODER, work)


def train_guard(work: Path) -> Trained:
    """Train the guard on the zoo alone."""
    return _train_embedding("guard", build_guard(), "pooler_output", _zoo(work), GUARD, work)


def latest(stage: str, work: Path) -> Trained:
    """A judge with the averaged weights of its latest checkpoint, its prototypes taken off."""
    builders = {"auditor": build_auditor, "encoder": build_encoder, "guard": build_guard}
    found = averaged(stage, builders[stage](), work)
    return found if stage == "auditor" else replace(found, model=found.model.get_submodule("network"))


def _train_embedding(
    name: str, model: Prototypes, output: str, shown: LabelledImages, budget: Budget, work: Path
) -> Trained:
    model.to(accelerator())

    def loss(generator: torch.Generator) -> Tensor:
        batch, kinds = shown.draw(budget.batch, generator)
        with half_precision(kinds.device):
            embeddings = model.network(spoil(batch, generator))[output].flatten(1)
        return model.loss(embeddings, kinds)

    return fit(name, model, loss, budget, work)


def _world(work: Path) -> LabelledImages:
    images, labels = balanced_set(work / "data", PER_PART)
    return LabelledImages.of(images, _decoded("world", images, BALANCED_SEED, work), labels)


def _zoo(work: Path) -> LabelledImages:
    images, labels = zoo_set(work / "data")
    return LabelledImages.of(images, _decoded("zoo", images, ZOO_SEED, work), labels)


def _decoded(name: str, images: Images, seed: int, work: Path) -> Images:
    return through_codec(codec.latest(work).model, images, DECODING_NOISE, seed, work / "data" / f"{name}-decoded.npz")


def _some(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(len(images), (count,), generator=generator, device=images.device)
