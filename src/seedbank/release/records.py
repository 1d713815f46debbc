"""The manifest of a release: every image with its seed, and everything they came from. One canonical JSON file.

A release is a folder::

    statement.dsse.json    who signed what: an in-toto statement about every other file, in a DSSE envelope
    manifest.json          this record
    dossier.json           what the reviewers saw; its digest is what they decided about
    decisions/<seat>.json  their signed answers
    images/…  seeds/…      the approved pictures, byte for byte, and the seeds that draw them
    README.md  datasheet.md

Of the moment of publication the manifest holds the photos' rights and what the store was seen to guarantee, and no time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from seedbank.bank import Bank, KeptRecord
from seedbank.errors import UsageError, VerificationError
from seedbank.evidence.signing import PublicKey, open_envelope
from seedbank.models.card import ModelCard
from seedbank.records import Record, sha256
from seedbank.references.records import Reference
from seedbank.review.records import Decision
from seedbank.selection.records import SamplerConfig
from seedbank.selection.search.recipes import Recipe
from seedbank.selection.seeds import Lineage
from seedbank.trials.records import Candidate

STATEMENT, MANIFEST, DOSSIER = "statement.dsse.json", "manifest.json", "dossier.json"
PREDICATE = "urn:seedbank:release:v1"


class ReleasedImage(Record):
    """One approved picture."""

    file: str
    seed_file: str
    candidate: Candidate
    """Digests, scores and explanation, as the reviewers had them."""
    lineage: Lineage


class Pin(Record):
    """A place in the ledger: the chain up to here is as it was when the last decision was recorded."""

    number: int
    entry: str
    """Digest of that entry."""


class Keeping(Record):
    """What the store was seen to guarantee when the release was written."""

    conditional_write: bool
    versioning: bool
    object_lock: bool
    immutability: Literal["none"] = "none"
    """``none``: only the signature shows a change, nothing prevents one."""


class Manifest(KeptRecord):
    """Everything an auditor needs, by digest."""

    KIND: ClassVar[str] = "release"
    PLACE: ClassVar[str] = "releases/{concept}/{address:.12}/manifest.json"
    EVENT: ClassVar[str] = "release.published"
    ADVICE: ClassVar[str] = "`seedbank status` says where it stands"

    format: Literal["seedbank-release/1"] = "seedbank-release/1"
    prompt: str
    images: tuple[ReleasedImage, ...]
    dossier: str
    trial: str
    """The trial's key."""
    trial_digest: str
    reference_set: str
    validation: str
    """Digest of the Great Expectations result that the reference set passed."""
    references: tuple[Reference, ...]
    """With their rights as they stood at publication."""
    requested_by: tuple[str, ...]
    """Everyone who had asked for images of the concept, at any stage, when the last decision was made."""
    model: ModelCard
    encoder: ModelCard
    guard: ModelCard
    sampler: SamplerConfig
    recipe: Recipe
    code_version: str
    software: dict[str, str]
    """What an image's last bits depend on, where the trial drew it: versions, processor, threads."""
    decisions: tuple[Decision, ...]
    review_key: str
    """Public key (PEM) that the decisions are signed with."""
    ledger: Pin
    """The entry of the last decision: whatever was written after it may have been written by the time a killed publication is finished."""
    keeping: Keeping

    @property
    def address(self) -> str:
        """The dossier it publishes: a dossier has one release."""
        return self.dossier

    @property
    def scripted(self) -> bool:
        """Whether a program answered the review."""
        return any(decision.scripted for decision in self.decisions)


def release_folder(concept: str, dossier: str) -> str:
    """Key prefix of the release of a dossier."""
    return f"releases/{concept}/{dossier[:12]}"


def decision_file(seat: int) -> str:
    """Where the signed answer of ``seat`` lies in a release."""
    return f"decisions/{seat}.json"


@dataclass(frozen=True)
class Release:
    """A published release.

    Attributes:
        folder: its key prefix in the store.
        manifest: what is in it.
        statement: SHA-256 of the signed statement.
    """

    folder: str
    manifest: Manifest
    statement: str


def load_release(bank: Bank, concept: str, dossier: str) -> Release:
    """The published release of a dossier: its manifest, as the release key signed it. :func:`seedbank.release.verify.verify_files` checks
    the other files.

    Raises:
        UsageError: there is none, or its publication was not finished.
        VerificationError: the manifest is not the one that was signed.
    """
    manifest = bank.load(Manifest, dossier, concept=concept)
    folder = release_folder(concept, dossier)
    try:
        sealed = bank.store.get(f"{folder}/{STATEMENT}")
    except KeyError:
        raise UsageError(
            f"expected {STATEMENT} in {folder}, the publication was not finished; `seedbank release {concept}` finishes it"
        ) from None
    signed = open_envelope(sealed, PublicKey.read(bank.settings.keys / "release.pub")).predicate.get("manifest")
    if signed != manifest.digest:
        raise VerificationError(f"expected manifest {signed} in {folder}, as it was signed, got {manifest.digest}")
    return Release(folder, manifest, sha256(sealed))


def newest_release_folder(bank: Bank, concept: str) -> str:
    """Key prefix of the release of ``concept`` that was published last; raises :class:`~seedbank.errors.UsageError` if there is none."""
    return release_folder(concept, bank.newest_address(Manifest, concept))


def pinned_entries(bank: Bank) -> dict[int, str]:
    """Digests of ledger entries, by number, that the releases in the store pin, for :meth:`~seedbank.evidence.ledger.Ledger.verify`."""
    manifests = (key for key in bank.store.keys("releases/") if key.endswith(f"/{MANIFEST}"))
    # Signatures are not checked here: a forged pin can make a ledger fail, never pass.
    pins = (Manifest.from_bytes(bank.store.get(key)).ledger for key in manifests)
    return {pin.number: pin.entry for pin in pins}
