"""Measured pools for tests: pictures, and embeddings that are unit vectors at given angles."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from seedbank.concepts import Policy
from seedbank.records import sha256
from seedbank.references.look import Look
from seedbank.references.pool import NO_SIBLINGS, MeasuredPool, Siblings, measure_pool
from seedbank.references.reference import Reference, Rights
from support.photos import RIGHTS


def reference(name: str, image: Image.Image) -> Reference:
    """A reference whose digest is that of its name."""
    rights = Rights.model_validate(RIGHTS)
    size = {"width": image.width, "height": image.height}
    return Reference(photo=sha256(name.encode()), concept="wingnut", name=name, format="JPEG", rights=rights, **size)


def pool_of(
    images: Sequence[Image.Image], angles: Sequence[float], *, siblings: Siblings = NO_SIBLINGS
) -> MeasuredPool:
    """A pool of ``0.jpg``, ``1.jpg`` and so on."""
    pool = [reference(f"{number}.jpg", image) for number, image in enumerate(images)]
    vectors = [np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
    looks = [Look.at(image, vector) for image, vector in zip(images, vectors, strict=True)]
    return measure_pool(pool, looks, [[]] * len(pool), Policy(), siblings=siblings)
