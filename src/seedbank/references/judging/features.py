"""Features: what is kept of one photo while its concept is judged, so that many large photos need little memory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbank.references.judging import likeness
from seedbank.references.judging.subject import Subject, find_subject
from seedbank.references.measures.photo import ScaledPhoto, measure, shrink

Floats = npt.NDArray[np.float64]
PREVIEW = 168
"""Longer side in pixels of the image that the report shows."""


@dataclass(frozen=True, kw_only=True)
class PhotoFeatures:
    """What is kept of one photo: a few dozen kilobytes, whatever its size.

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
    def of(cls, image: Image.Image, embedding: Floats, *, measures: Mapping[str, float] | None = None) -> Self:
        """The features of an upright RGB image, of which the ``measures`` may be known."""
        scaled = ScaledPhoto.of(image)
        buffer = io.BytesIO()
        shrink(scaled.image, PREVIEW).save(buffer, "JPEG", quality=82)
        return cls(
            measures=measures or measure(image, scaled=scaled),
            thumbnail=likeness.thumbnail(image),
            subject=find_subject(scaled.image),
            embedding=embedding,
            preview=buffer.getvalue(),
        )
