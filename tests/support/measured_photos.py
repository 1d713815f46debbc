"""Measured photos for tests, whose embeddings are unit vectors at given angles, and photos of a bank without the cost of intake."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from seedbank.bank import Bank
from seedbank.concepts import Policy
from seedbank.records import sha256
from seedbank.references.judging.features import PhotoFeatures
from seedbank.references.judging.measured_photos import MeasuredPhotos, measure_photos
from seedbank.references.judging.picks import NO_PICKS, ResolvedPicks
from seedbank.references.judging.siblings import NO_SIBLINGS, Siblings
from seedbank.references.records import Reference, Rights, photo_key
from support.photos import RIGHTS

OTHERS = np.array([[0.0, -1.0]])
"""A picture of another thing: the unit vector at a right angle to a photo at 0, away from the others."""


def reference(name: str, image: Image.Image) -> Reference:
    """A reference whose digest is that of its name."""
    rights = Rights.model_validate(RIGHTS)
    size = {"width": image.width, "height": image.height}
    photo = sha256(name.encode())
    return Reference(photo=photo, concept="wingnut", name=name, working=photo, format="JPEG", rights=rights, **size)


def features_at(image: Image.Image, angle: float) -> PhotoFeatures:
    """The features of a photo whose embedding is the unit vector at this angle, in radians."""
    return PhotoFeatures.of(image, np.array([np.cos(angle), np.sin(angle)]))


def measured_photos(
    images: Mapping[str, Image.Image] | Sequence[Image.Image],
    angles: Sequence[float],
    *,
    faults: Mapping[str, Sequence[str]] | None = None,
    picks: ResolvedPicks = NO_PICKS,
    siblings: Siblings = NO_SIBLINGS,
) -> MeasuredPhotos:
    """Measured photos by name, or ``0.jpg``, ``1.jpg`` and so on; ``faults`` forbid using some of them."""
    named = images if isinstance(images, Mapping) else {f"{number}.jpg": image for number, image in enumerate(images)}
    return measure_photos(
        [reference(name, image) for name, image in named.items()],
        [features_at(image, angle) for image, angle in zip(named.values(), angles, strict=True)],
        [(faults or {}).get(name, ()) for name in named],
        Policy(),
        picks=picks,
        siblings=siblings,
        others=OTHERS,
    )


def put_photos(bank: Bank, folder: Path) -> None:
    """Give a concept the good photos of its folder as intake would, but without its sandbox, which takes seconds."""
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
        bank.store.put(photo_key(item.concept, item.photo), item.to_bytes())
