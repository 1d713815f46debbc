"""Pictures and seeds of a trial, read from the store and checked against the digests on record."""

from __future__ import annotations

import io

from PIL import Image

from seedbank.bank import Bank
from seedbank.errors import VerificationError
from seedbank.records import sha256
from seedbank.selection.seeds import Seed
from seedbank.trials.records import Candidate


def read_image(bank: Bank, folder: str, candidate: Candidate) -> bytes:
    """The PNG of a candidate (or plain seed) of the trial in ``folder``, byte for byte what the record names.

    Raises:
        VerificationError: it is gone or was changed.
    """
    key = f"{folder}/images/{candidate.image}.png"
    try:
        data = bank.store.get(key)
    except KeyError:
        raise VerificationError(f"expected a picture at {key}, it is gone; restore it in {bank.store.url}") from None
    # A store is not trusted: whoever can write to it could put another image in its place.
    if sha256(data) != candidate.image:
        raise VerificationError(
            f"expected {candidate.image} at {key}, got {sha256(data)}; it was changed in {bank.store.url}"
        )
    return data


def open_image(bank: Bank, folder: str, candidate: Candidate) -> Image.Image:
    """The same, decoded to RGB."""
    return decode(read_image(bank, folder, candidate))


def decode(png: bytes) -> Image.Image:
    """A stored PNG as an RGB picture."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        return image.convert("RGB")


def read_seed(bank: Bank, folder: str, digest: str) -> Seed:
    """The seed with this digest of the trial or expansion in ``folder``.

    Raises:
        VerificationError: it is gone or was changed.
    """
    key = f"{folder}/seeds/{digest}.safetensors"
    try:
        seed = Seed.from_safetensors(bank.store.get(key))
    except KeyError:
        raise VerificationError(f"expected a seed at {key}, it is gone; restore it in {bank.store.url}") from None
    if seed.digest != digest:
        raise VerificationError(f"expected seed {digest}, got {seed.digest}; {key} was changed in {bank.store.url}")
    return seed
