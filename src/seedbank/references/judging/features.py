"""Looks: what is kept of one photo after it was looked at, so that a pool of large photos needs little memory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbank.references.judging import likeness
from seedbank.references.judging.subject import Subject, find_subject
from seedbank.references.measures.photo import Sight, measure, shrink

Floats = npt.NDArray[np.float64]
PREVIEW = 168
"""Longer side in pixels of the picture that the report shows."""


@dataclass(frozen=True)
class Look:
    """What is kept of one photo after it was looked at: a few dozen kilobytes, whatever its size.

    Attributes:
        measures: the photo by itself, :data:`seedbank.references.measures.catalogue.PHOTO`.
        thumbnail: the whole photo squeezed into a small square, for finding copies.
        subject: subject and background, if they could be told apart.
        embedding: unit vector of a vision model, shape (d,).
        preview: a small JPEG to show.
    """

    measures: Mapping[str, float]
    thumbnail: Image.Image
    subject: Subject | None
    embedding: Floats
    preview: bytes

    @classmethod
    def at(cls, image: Image.Image, embedding: Floats, *, measures: Mapping[str, float] | None = None) -> Look:
        """Look at an upright RGB picture, of which the ``measures`` may be known."""
        sight = Sight.of(image)
        buffer = io.BytesIO()
        shrink(sight.small, PREVIEW).save(buffer, "JPEG", quality=82)
        return cls(
            measures=measures or measure(image, sight=sight),
            thumbnail=likeness.thumbnail(image),
            subject=find_subject(sight.small),
            embedding=embedding,
            preview=buffer.getvalue(),
        )
