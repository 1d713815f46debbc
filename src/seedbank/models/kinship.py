"""Whether judges are independent of each other, and of the network that a pipeline reads its prompts with. By content: names say little.

A CLIP has a half that reads and a half that sees, learnt together. Where a pipeline reads with the one and is judged by the other, the
judge says of an image what the prompt already did.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.models.files import find_model

if TYPE_CHECKING:
    from seedbank.models.card import ModelCard
    from seedbank.models.judges import Embedder
    from seedbank.models.profiles import ModelProfile

MARK = "embeddings.position_embedding.weight"
"""A small weight that every CLIP text encoder has, however many of its last layers a pipeline leaves out."""
ALIKE = 0.01
"""Relative difference up to which two of these are one: half precision rounds to less, another training is far from it."""


def check_independent(profile: ModelProfile, encoder: Embedder, guard: Embedder) -> None:
    """Raises a :class:`~seedbank.errors.UsageError` where one network would be followed and accept at once."""
    both = {card.content for card in _networks(encoder.card)} & {card.content for card in _networks(guard.card)}
    if both:
        raise UsageError(
            f"the encoder and the guard of the model profile {profile.name!r} are the same network ({min(both)[:12]}); a judge that is "
            "followed cannot accept, so name another guard"
        )


def kinships(profile: ModelProfile, pipeline: Any) -> tuple[str, ...]:
    """Encoders that are half of the network that ``pipeline`` reads its prompts with, each as a note.

    Raises:
        UsageError: a guard is.
    """
    for source in profile.guard:
        if name := shared_text_encoder(pipeline, find_model(source, "guard")):
            raise UsageError(
                f"the guard {source!r} of the model profile {profile.name!r} and the pipeline's own {name} are halves of one network; "
                "it would accept what the prompt already did, so name a guard of another family"
            )
    found = [(source, shared_text_encoder(pipeline, find_model(source, "encoder"))) for source in profile.encoder]
    return tuple(
        f"the encoder {source!r} and the pipeline's own {name} are halves of one network, so the search climbs what the model already "
        "believes; an encoder of another family says more"
        for source, name in found
        if name
    )


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


def _networks(card: ModelCard) -> tuple[ModelCard, ...]:
    return card.members or (card,)
