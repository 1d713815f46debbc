"""Pools for tests: measured ones, whose embeddings are unit vectors at given angles, and pools of a bank without the cost of intake."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from seedbank.bank import Bank
from seedbank.concepts import Policy
from seedbank.records import sha256
from seedbank.references.judging.features import Look
from seedbank.references.judging.measured_photos import NO_SIBLINGS, MeasuredPhotos, Siblings, measure_photos
from seedbank.references.records import Reference, Rights
from support.photos import RIGHTS


def reference(name: str, image: Image.Image) -> Reference:
    """A reference whose digest is that of its name."""
    rights = Rights.model_validate(RIGHTS)
    size = {"width": image.width, "height": image.height}
    photo = sha256(name.encode())
    return Reference(photo=photo, concept="wingnut", name=name, working=photo, format="JPEG", rights=rights, **size)


def pool_of(
    images: Sequence[Image.Image], angles: Sequence[float], *, siblings: Siblings = NO_SIBLINGS
) -> MeasuredPhotos:
    """A pool of ``0.jpg``, ``1.jpg`` and so on."""
    pool = [reference(f"{number}.jpg", image) for number, image in enumerate(images)]
    vectors = [np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
    looks = [Look.at(image, vector) for image, vector in zip(images, vectors, strict=True)]
    return measure_photos(pool, looks, [[]] * len(pool), Policy(), siblings=siblings)


def stock(bank: Bank, folder: Path) -> None:
    """Put the good photos of a concept's folder into its pool as intake would, but without its sandbox, which takes seconds."""
    for path in sorted(path for path in folder.iterdir() if path.suffix != ".yaml"):
        data, buffer = path.read_bytes(), io.BytesIO()
        image = Image.open(io.BytesIO(data)).convert("RGB")
        image.save(buffer, "PNG", compress_level=1)
        rights = Rights.model_validate(yaml.safe_load(path.with_name(f"{path.name}.yaml").read_text(encoding="utf-8")))
        size = {"width": image.width, "height": image.height, "format": "JPEG"}
        digests = {"photo": sha256(data), "working": sha256(buffer.getvalue())}
        item = Reference(**digests, concept=folder.name, name=path.name, rights=rights, **size)
        bank.store.put(f"originals/{item.photo}", data)
        bank.store.put(f"working/{item.photo}.png", buffer.getvalue())
        bank.store.put(f"photos/{item.concept}/{item.photo}.json", item.to_bytes())
