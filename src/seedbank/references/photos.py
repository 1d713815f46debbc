"""The working copies of photos, as they are judged and shown to a model: upright RGB, checked against their records."""

from __future__ import annotations

import io

from PIL import Image

from seedbank.bank import Bank
from seedbank.errors import StoreError, VerificationError
from seedbank.records import sha256
from seedbank.references.records import Reference, ReferenceSet


def working_image(bank: Bank, reference: Reference) -> Image.Image:
    """The working copy of a photo: upright, RGB, without metadata.

    Raises:
        StoreError: it is not there, or not what was made of the photo at intake.
    """
    try:
        data = bank.store.get(f"working/{reference.photo}.png")
    except KeyError:
        raise StoreError(
            f"no working copy of {reference.name} in {bank.store.url}; run `seedbank intake` again"
        ) from None
    if sha256(data) != reference.working:
        raise VerificationError(
            f"expected the working copy {reference.working} of {reference.name}, got {sha256(data)}; the working copy of "
            f"{reference.name} was changed in {bank.store.url}; restore it"
        )
    # PNG only: no other decoder is offered what lies in the store.
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return image.convert("RGB")


def reference_images(bank: Bank, reference_set: ReferenceSet) -> list[Image.Image]:
    """The photos of a set, upright and RGB, in its order. Raises what :func:`working_image` does."""
    return [working_image(bank, reference) for reference in reference_set.references]
