"""Verification: is this folder, to the last byte, what two people approved and the release key signed? Needs nothing but the folder and
the public key.

The order of the checks, each of which uses only what the ones before have proved:

1. the envelope is signed by the given key, and its statement is about a release;
2. the statement names exactly the files of the folder, each with its SHA-256;
3. the manifest is canonical, and the dossier has the digest that the manifest and the decisions name;
4. the decisions are signed with the review key of the manifest, by two different people who did not ask for it, all saying "publish";
5. the images are the dossier's candidates, and pixels and seeds have the digests that were approved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seedbank.bank import Bank
from seedbank.errors import NotApproved, OutsideError, UsageError, VerificationError
from seedbank.evidence.signing import PublicKey, open_envelope
from seedbank.records import sha256
from seedbank.release.records import DOSSIER, MANIFEST, PREDICATE, STATEMENT, Manifest, ReleasedImage, decision_file
from seedbank.review.decisions import check_approval
from seedbank.review.records import Dossier, read_decision
from seedbank.selection.seeds import Seed
from seedbank.storage.images import pixel_digest
from seedbank.trials.images import decode

Files = Mapping[str, bytes]
"""Path within the release to content."""


@dataclass(frozen=True)
class VerifiedRelease:
    """A release that holds."""

    manifest: Manifest
    files: int
    """How many files the statement covers."""
    key: str
    """Identifier of the key that signed it."""


def verify_release(folder: Path, public_key: Path) -> VerifiedRelease:
    """Verify a release folder with the publisher's public key, offline.

    Raises:
        UsageError: there is no such folder or key.
        VerificationError: any byte of it is not as it was signed, a file is missing or there is one too many.
    """
    return verify_files(read_folder(folder), PublicKey.read(public_key))


def verify_files(files: Files, key: PublicKey) -> VerifiedRelease:
    """Verify the files of a release, wherever they were read from; raises like :func:`verify_release`."""
    if STATEMENT not in files:
        raise VerificationError(
            f"expected {STATEMENT}, it is missing; this is no release, or its publication was not finished"
        )
    # 1. Who signed, and that it is about a release and nothing else that the key may have signed.
    statement = open_envelope(files[STATEMENT], key)
    if statement.predicate_type != PREDICATE:
        raise VerificationError(f"expected a statement about a release, got {statement.predicate_type!r}")
    # 2. From here on every byte is one that was signed.
    check_files(files, statement.digests())
    # 3. Canonical to the byte: what a parser passes over would be signed and never looked at.
    stored = files.get(MANIFEST, b"")
    manifest = Manifest.from_bytes(stored)
    if statement.predicate.get("manifest") != sha256(stored) or manifest.to_bytes() != stored:
        raise VerificationError("expected the manifest that was signed, in canonical form, got another")
    check_content(files, manifest)
    return VerifiedRelease(manifest, len(files) - 1, key.id)


def check_files(files: Files, signed: Mapping[str, str]) -> None:
    """Check that ``files``, the statement apart, are exactly those ``signed``."""
    # Both ways: a file that nobody signed would borrow the credit of those beside it.
    found = files.keys() - {STATEMENT}
    if missing := sorted(signed.keys() - found):
        raise VerificationError(f"expected {_shown(missing)}, not there; the release is not complete")
    if strange := sorted(found - signed.keys()):
        raise VerificationError(f"found {_shown(strange)}, which nobody signed; remove it or get the release again")
    for name in sorted(found):
        if sha256(files[name]) != signed[name]:
            raise VerificationError(f"{name} was changed: expected SHA-256 {signed[name]}, got {sha256(files[name])}")


def check_content(files: Files, manifest: Manifest) -> None:
    """Check that a manifest, its dossier, decisions, pictures and seeds belong together."""
    if not {DOSSIER, *map(decision_file, (item.seat for item in manifest.decisions))} <= files.keys():
        raise VerificationError(
            "expected the dossier and a signed decision of each seat in the release, not all are there"
        )
    if sha256(files[DOSSIER]) != manifest.dossier:
        raise VerificationError(f"expected dossier {manifest.dossier}, got {sha256(files[DOSSIER])}")
    dossier = Dossier.from_bytes(files[DOSSIER])
    # 4. and 5. What belongs together by digest, now that each part is known to be as it was signed.
    _check_decisions(files, manifest)
    _check_origin(manifest, dossier)
    for item in manifest.images:
        _check_image(files, item)


def read_folder(folder: Path) -> dict[str, bytes]:
    """All files below ``folder``.

    Raises:
        UsageError: there is no such folder.
        VerificationError: it holds something that is not a plain file, such as a link.
        OutsideError: a file cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"expected a release folder, {folder} is none; `seedbank status` says where releases are")
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # A link shows bytes that are not in the folder, and may show others tomorrow.
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise VerificationError(
                f"expected only plain files in a release, {_shown([name])} is none; get the release again"
            )
        if path.is_file():
            try:
                files[name] = path.read_bytes()
            except OSError as error:
                raise OutsideError(
                    f"cannot read {_shown([name])} in {folder}: {error.strerror}; copy the release to where you may read it"
                ) from error
    return files


def read_stored(bank: Bank, folder: str) -> dict[str, bytes]:
    """All files of a release below the key prefix ``folder`` of the store."""
    return {key.removeprefix(f"{folder}/"): bank.store.get(key) for key in bank.store.keys(f"{folder}/")}


def _shown(names: Sequence[str]) -> str:
    """Names of files for a message, in which one that holds line ends or other control characters cannot write a line of its own."""
    return ", ".join(name if name.isprintable() else ascii(name) for name in names)


def _check_decisions(files: Files, manifest: Manifest) -> None:
    # The release key has vouched for the manifest by now, and so for the review key in it.
    key = PublicKey(manifest.review_key)
    signed = tuple(read_decision(files[decision_file(item.seat)], key) for item in manifest.decisions)
    if signed != manifest.decisions or any(item.dossier != manifest.dossier for item in signed):
        raise VerificationError("expected the decisions of the manifest about its dossier, got others in decisions/")
    try:
        # Without a roster: an auditor has none, and people come and go.
        check_approval(signed, manifest.requested_by, None)
    except NotApproved as error:
        raise VerificationError(f"the decisions do not allow this release: {error}") from error


def _check_origin(manifest: Manifest, dossier: Dossier) -> None:
    same = {
        "concept": manifest.concept == dossier.concept,
        "trial": manifest.trial_digest == dossier.trial_digest,
        "reference set": manifest.reference_set == dossier.reference_set,
        "references": [item.photo for item in manifest.references] == [item.photo for item in dossier.references],
        "images": tuple(item.candidate for item in manifest.images) == dossier.candidates,
    }
    if wrong := [name for name, equal in same.items() if not equal]:
        raise VerificationError(
            f"the manifest's {', '.join(wrong)} are not what the reviewers saw in dossier {manifest.dossier}"
        )


def _check_image(files: Files, item: ReleasedImage) -> None:
    image, seed = files.get(item.file, b""), files.get(item.seed_file, b"")
    if sha256(image) != item.candidate.image:
        raise VerificationError(f"{item.file} is not the picture that was approved ({item.candidate.image})")
    # The pixels too: a decoder here may see something else in the same file than the reviewers' did.
    if pixel_digest(np.asarray(decode(image))) != item.candidate.pixels:
        raise VerificationError(f"the pixels of {item.file} are not those that were approved ({item.candidate.pixels})")
    found = Seed.from_safetensors(seed)
    # Written again it must be the same file: a safetensors header has room for bytes that no seed needs.
    if found.digest != item.candidate.seed or found.lineage != item.lineage or found.to_safetensors() != seed:
        raise VerificationError(f"{item.seed_file} is not the seed that was approved ({item.candidate.seed})")
