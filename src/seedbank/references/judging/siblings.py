"""Siblings: what the model draws for the prompts a concept is confused with, so that a photo of the wrong thing is known by its looks.

A few plain seeds of each sibling prompt are drawn once and kept in the store by the digest of everything that decides them::

    siblings/<digest>.json     their embeddings (SiblingImages), written last
    siblings/<digest>/<n>.png  the pictures of the n-th prompt in a row, for people

A model that cannot be loaded takes nothing away from the other measures: agreement is then *not measured*, and the reason is told.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seedbank.errors import SeedbankError
from seedbank.models.card import ModelCard
from seedbank.records import Record, canonical_json, sha256
from seedbank.references.judging.measured_photos import Siblings

if TYPE_CHECKING:
    from seedbank.bank import Bank
    from seedbank.concepts import Concept
    from seedbank.references.judging.embedding import Embeds

Pixels = npt.NDArray[np.uint8]
Draw = Callable[["Concept", str, int], Sequence[Pixels]]
"""The pictures ``[H, W, 3]`` that a concept's model draws for a prompt from its first plain seeds."""
VERSION = 1
"""Raise when the way of drawing or embedding changes."""


class SiblingImages(Record):
    """What was drawn of the siblings: for each prompt the unit vectors of its pictures, rounded to six digits."""

    prompts: tuple[str, ...]
    model: str
    """Digest of the model's content."""
    embedder: str
    """Digest of the embedder's content."""
    seed: str
    seeds: int
    vectors: tuple[tuple[tuple[float, ...], ...], ...]

    @property
    def centroids(self) -> npt.NDArray[np.float64]:
        """The mean direction of each prompt's pictures, shape (len(prompts), d)."""
        means = np.array([np.mean(drawn, axis=0) for drawn in self.vectors])
        return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12))


def find_siblings(bank: Bank, concept: Concept, embedder: Embeds, *, draw: Draw | None = None) -> tuple[Siblings, str]:
    """The siblings of a concept as ``embedder`` sees them, and their key in the store; drawn now if they never were.

    Args:
        bank: keeps what was drawn.
        concept: names the siblings, the model and how many seeds to draw.
        embedder: the model that compares photos.
        draw: draws a prompt; None for the concept's own model.
    """
    seeds = concept.policy.references.sibling_seeds
    if not concept.siblings:
        return Siblings(missing="the concept file names no siblings"), ""
    if not seeds:
        return Siblings(missing="policy.references.sibling_seeds is 0"), ""
    try:
        model = _card(concept.model)
        key = _key(concept, model, embedder.card)
        try:
            found = SiblingImages.from_bytes(bank.store.get(f"{key}.json"))
        except KeyError:
            found = _draw(bank, concept, model, embedder, key, draw or draw_plain)
    except (
        SeedbankError,
        OSError,
        RuntimeError,
        ImportError,
    ) as error:  # torch reports a lack of memory as a RuntimeError
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Siblings(concept.siblings, missing=f"the model {concept.model!r} could not draw them: {first}"), ""
    return Siblings(found.prompts, found.centroids), key


def draw_plain(concept: Concept, prompt: str, count: int) -> Sequence[Pixels]:
    """The pictures of the concept's first plain seeds under another prompt."""
    from seedbank.models.drawing import plain_pictures

    return plain_pictures(concept.model_copy(update={"prompt": prompt}), count, lambda _done, _total: None)


def _card(model: str) -> ModelCard:
    """Which model it is, without loading it."""
    from seedbank.models.files import describe, find_model

    return describe(find_model(model, "pipeline"), source=model)


def _key(concept: Concept, model: ModelCard, embedder: ModelCard) -> str:
    parts = {
        "siblings": VERSION,
        "prompts": list(concept.siblings),
        "model": model.content,
        "embedder": embedder.content,
        "seed": concept.seed,
        "seeds": concept.policy.references.sibling_seeds,
    }
    return f"siblings/{sha256(canonical_json(parts))}"


def _draw(bank: Bank, concept: Concept, model: ModelCard, embedder: Embeds, key: str, draw: Draw) -> SiblingImages:
    from PIL import Image

    from seedbank.references.judging.embedding import embed

    count = concept.policy.references.sibling_seeds
    vectors = []
    for number, prompt in enumerate(concept.siblings):
        pictures = list(draw(concept, prompt, count))
        vectors.append(np.round(embed(embedder, [Image.fromarray(picture) for picture in pictures]), 6))
        buffer = io.BytesIO()
        Image.fromarray(np.hstack(pictures)).save(buffer, "PNG")
        bank.store.put(f"{key}/{number}.png", buffer.getvalue())
    made = SiblingImages(
        prompts=concept.siblings,
        model=model.content,
        embedder=embedder.card.content,
        seed=concept.seed,
        seeds=count,
        vectors=tuple(tuple(tuple(map(float, row)) for row in drawn) for drawn in vectors),
    )
    bank.store.put_new(f"{key}.json", made.to_bytes())
    return SiblingImages.from_bytes(bank.store.get(f"{key}.json"))
