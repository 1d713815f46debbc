"""Siblings: what the model draws for the prompts a concept is confused with, so that a photo of the wrong thing is known by its looks.

A few plain seeds of each sibling prompt are drawn once and kept in the store by the digest of everything that decides them::

    siblings/<digest>.json     their embeddings (SiblingEmbeddings), written last
    siblings/<digest>/<n>.png  the images of the n-th prompt in a row, for people

The gate fails closed: where a concept names siblings and its model cannot draw them, nothing is judged. Whoever wants to do without says so
in the concept's policy (``sibling_seeds: 0``).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seedbank.errors import OutsideError, UsageError
from seedbank.models.card import ModelCard
from seedbank.records import Record, canonical_json, sha256

if TYPE_CHECKING:
    from seedbank.bank import Bank
    from seedbank.concepts import Concept
    from seedbank.models.profiles import ModelProfile
    from seedbank.references.judging.embedding import PhotoEmbedder

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Draw = Callable[[str, int], Sequence[Pixels]]
"""The images ``[H, W, 3]`` that the concept's model draws for a prompt from its first plain seeds."""
VERSION = 2
"""Raise when the way of drawing or embedding changes."""


@dataclass(frozen=True, kw_only=True)
class Siblings:
    """What the concept must not be confused with.

    Attributes:
        prompts: the sibling prompts.
        centroids: unit vector of what the model draws for each, shape (len(prompts), d); None where nothing is to be compared.
        folder: key prefix of the images that were drawn; empty where there are none.
        not_compared: why photos are not compared with siblings, by whose decision; empty when they are.
    """

    prompts: tuple[str, ...] = ()
    centroids: Floats | None = None
    folder: str = ""
    not_compared: str = ""


NO_SIBLINGS = Siblings(not_compared="the concept file names no siblings")


class SiblingEmbeddings(Record):
    """What was drawn of the siblings: for each prompt the unit vectors of its images, rounded to six digits."""

    prompts: tuple[str, ...]
    model: str
    """Digest of the model's content."""
    embedder: str
    """Digest of the embedder's content."""
    seed: str
    seeds: int
    vectors: tuple[tuple[tuple[float, ...], ...], ...]

    @property
    def centroids(self) -> Floats:
        """The mean direction of each prompt's images, shape (len(prompts), d)."""
        means = np.array([np.mean(drawn, axis=0) for drawn in self.vectors])
        return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12))


def find_siblings(
    bank: Bank,
    concept: Concept,
    profile: ModelProfile,
    embedder: PhotoEmbedder,
    *,
    photos: int,
    draw: Draw | None = None,
) -> Siblings:
    """The siblings of a concept as ``embedder`` sees them; drawn now if they never were.

    Args:
        bank: keeps what was drawn.
        concept: names the siblings and how many seeds to draw.
        profile: the concept's model.
        embedder: the model that compares photos.
        photos: how many photos are to be compared; nothing is drawn for fewer than ``policy.references.min_peers``.
        draw: draws a prompt; None for the concept's own model.

    Raises:
        UsageError: the concept names no model that can be used.
        OutsideError: the model could not be fetched or could not draw. Both say what to do.
    """
    policy = concept.policy.references
    if not concept.siblings:
        return NO_SIBLINGS
    if not policy.sibling_seeds:
        return Siblings(not_compared="policy.references.sibling_seeds is 0")
    if photos < policy.min_peers:
        return Siblings(not_compared=f"fewer than {policy.min_peers} photos to compare")
    # Which model it is decides whether its drawings are kept already, so it must be there even when nothing is drawn.
    with _explained(concept):
        model = _card(bank, profile)
    key = _key(concept, profile, model, embedder.card)
    try:
        found = SiblingEmbeddings.from_bytes(bank.store.get(f"{key}.json"))
    except KeyError:
        found = _draw(
            bank, concept, model, embedder, key=key, draw=draw or partial(_draw_plain, bank, concept, profile)
        )
    return Siblings(prompts=found.prompts, centroids=found.centroids, folder=key)


def load_sibling_images(bank: Bank, siblings: Siblings) -> tuple[bytes, ...]:
    """For each prompt, what the model draws as one PNG in a row; none where nothing was drawn."""
    return tuple(
        bank.store.get(f"{siblings.folder}/{number}.png") for number in range(len(siblings.prompts)) if siblings.folder
    )


def _draw_plain(bank: Bank, concept: Concept, profile: ModelProfile, prompt: str, count: int) -> Sequence[Pixels]:
    """The images of the concept's first plain seeds under another prompt."""
    from seedbank.models.device import at_work
    from seedbank.models.drawing import plain_images
    from seedbank.models.loading import load_model

    with at_work(bank.settings, "nothing was judged") as device:
        model = load_model(profile, device=device)
        return plain_images(model, prompt, root=concept.seed, count=count, progress=lambda _done, _total: None)


@contextmanager
def _explained(concept: Concept) -> Iterator[None]:
    """Tells whoever validates what to do when the model cannot be had or cannot draw."""
    try:
        yield
    except (
        UsageError,
        OutsideError,
        OSError,
        RuntimeError,
        ImportError,
    ) as error:  # torch lacks memory with a RuntimeError
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        kind = UsageError if isinstance(error, UsageError) else OutsideError
        raise kind(
            f"cannot compare the photos of {concept.name} with its siblings: the model of profile {concept.model!r} could not draw "
            f"them ({why}); mend that and validate again, or set policy.references.sibling_seeds to 0 in the concept file to do "
            "without them"
        ) from error


def _card(bank: Bank, profile: ModelProfile) -> ModelCard:
    """Which model it is, without loading it."""
    from seedbank.models.client import pinned
    from seedbank.models.files import describe, find_model

    precision: str = profile.precision
    if profile.precision == "auto" and pinned(profile.pipeline):
        # Only a hub has other files for another arithmetic; to know which it will be, torch is asked.
        from seedbank.models.device import drawing_precision

        precision = drawing_precision(profile.precision, bank.settings)
    return describe(find_model(profile.pipeline, "pipeline", precision=precision), source=profile.pipeline)


def _key(concept: Concept, profile: ModelProfile, model: ModelCard, embedder: ModelCard) -> str:
    parts = {
        "siblings": VERSION,
        "prompts": list(concept.siblings),
        "model": model.content,
        "sampler": profile.sampler.said,
        "precision": profile.precision,
        "embedder": embedder.content,
        "seed": concept.seed,
        "seeds": concept.policy.references.sibling_seeds,
    }
    return f"siblings/{sha256(canonical_json(parts))}"


def _draw(
    bank: Bank, concept: Concept, model: ModelCard, embedder: PhotoEmbedder, *, key: str, draw: Draw
) -> SiblingEmbeddings:
    """Draw every prompt, keep the images and then their embeddings; what another process kept first is what counts."""
    from PIL import Image

    from seedbank.references.judging.embedding import embed_images

    count = concept.policy.references.sibling_seeds
    vectors = []
    for number, prompt in enumerate(concept.siblings):
        with _explained(concept):
            images = list(draw(prompt, count))
        vectors.append(np.round(embed_images(embedder, [Image.fromarray(image) for image in images]), 6))
        buffer = io.BytesIO()
        Image.fromarray(np.hstack(images)).save(buffer, "PNG")
        bank.store.put(f"{key}/{number}.png", buffer.getvalue())
    made = SiblingEmbeddings(
        prompts=concept.siblings,
        model=model.content,
        embedder=embedder.card.content,
        seed=concept.seed,
        seeds=count,
        vectors=tuple(tuple(tuple(map(float, row)) for row in drawn) for drawn in vectors),
    )
    # Two processes may differ in the last bits: both go on with what is kept.
    if bank.store.put_new(f"{key}.json", made.to_bytes()):
        return made
    return SiblingEmbeddings.from_bytes(bank.store.get(f"{key}.json"))
