"""Publication: exactly what was approved, byte for byte, signed, once.

1. :func:`seedbank.review.decisions.approved` must hold, and the rights of every reference must hold today.
2. All files are written, then read back and verified together with the statement as an auditor would.
3. The statement is written last, with a new-only write; a folder without one is no release. Then the ledger.

The files follow from dossier, decisions and trial, and from three things of the moment: the photos' rights on that day, the libraries that
publish, and what the store was seen to guarantee. A publication that was killed is finished by the next one: before the statement is there,
files may still be written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from seedbank.bank import Bank
from seedbank.errors import VerificationError
from seedbank.evidence.signing import PublicKey, Signer, Statement, ensure_key
from seedbank.records import sha256
from seedbank.references.clearance import cleared
from seedbank.references.records import Reference, ReferenceSet
from seedbank.release.papers import datasheet, readme
from seedbank.release.records import (
    DOSSIER,
    MANIFEST,
    PREDICATE,
    STATEMENT,
    Keeping,
    Manifest,
    Pin,
    Release,
    ReleasedImage,
    decision_file,
    release_folder,
)
from seedbank.release.verify import read_stored, verify_files
from seedbank.review.decisions import Approval, approved
from seedbank.review.records import Dossier, trial_of
from seedbank.selection.seeds import Seed
from seedbank.trials.images import read_image
from seedbank.trials.records import Candidate, Trial


def publish(bank: Bank, dossier_digest: str, *, today: date | None = None) -> Release:
    """Publish the candidates of an approved dossier, or return the release that was published. Everything is read once and handed on.

    Args:
        bank: holds the dossier and the decisions; gets the release.
        dossier_digest: which dossier.
        today: the day on which rights must hold; None for today (UTC).

    Raises:
        NotApproved: the decisions on record do not allow it.
        UnusableReferences: the rights of a reference do not hold any more.
        VerificationError: a picture, seed or record is not the one that was approved.
    """
    dossier = bank.load(Dossier, dossier_digest)
    folder = release_folder(dossier.concept, dossier_digest)
    signer = ensure_key(bank.settings.keys, "release")
    # A folder with a statement is a release: nothing in it is written any more, whatever the gates say today.
    release = None
    if not bank.store.exists(f"{folder}/{STATEMENT}"):
        release = _make(bank, folder, _gather(bank, dossier, today), signer)
    return _put_on_record(bank, release or _read_back(bank, folder, signer.public), dossier)


@dataclass(frozen=True)
class Approved:
    """What goes into a release, read from the bank and checked.

    Attributes:
        dossier: what was approved.
        approval: the signed decisions.
        references: the photos, with their rights as they stand today.
        trial: what found the images.
        validation: digest of the checks that the reference set passed.
        review_key: public key (PEM) that the decisions are signed with.
        keeping: what the store was seen to guarantee.
    """

    dossier: Dossier
    approval: Approval
    references: tuple[Reference, ...]
    trial: Trial
    validation: str
    review_key: str
    keeping: Keeping


def _gather(bank: Bank, dossier: Dossier, today: date | None) -> Approved:
    """Ask the gate first, then the rights, then read the rest."""
    approval = approved(bank, dossier)
    return Approved(
        dossier=dossier,
        approval=approval,
        references=cleared(bank, dossier.concept, dossier.references, today=today),
        trial=trial_of(bank, dossier),
        validation=bank.load(ReferenceSet, dossier.reference_set).validation,
        review_key=PublicKey.read(bank.settings.keys / "review.pub").pem,
        keeping=_keeping(bank),
    )


def _make(bank: Bank, folder: str, parts: Approved, signer: Signer) -> Release | None:
    """Write the files, verify them as an auditor would, then the statement; None if another process signed this release first."""
    files = release_files(bank, parts)
    for name, data in files.items():
        # Not new-only: a killed publication may have left files of another day, with other rights.
        bank.store.put(f"{folder}/{name}", data)
    # Sealed in memory, checked against what the store gives back, and only then stored: a file too many or bytes that a
    # store damaged end the publication unsigned.
    sealed = signer.seal(_statement(files))
    held = verify_files({**read_stored(bank, folder), STATEMENT: sealed}, signer.public)
    # Two publishers may differ in what the moment decides: the first statement is the release.
    if not bank.store.put_new(f"{folder}/{STATEMENT}", sealed):
        return None
    return Release(folder, held.manifest, sha256(sealed))


def release_files(bank: Bank, parts: Approved) -> dict[str, bytes]:
    """Every file of the release but its statement."""
    dossier = parts.dossier
    files: dict[str, bytes] = {DOSSIER: dossier.to_bytes()}
    images = []
    for number, candidate in enumerate(dossier.candidates, start=1):
        name = f"{dossier.concept}-{number:02d}"
        seed = _seed(bank, dossier, candidate)
        image = ReleasedImage(
            file=f"images/{name}.png", seed_file=f"seeds/{name}.safetensors", candidate=candidate, lineage=seed.lineage
        )
        files |= {image.file: read_image(bank, dossier.folder, candidate), image.seed_file: seed.to_safetensors()}
        images.append(image)
    files |= {decision_file(signed.decision.seat): signed.envelope for signed in parts.approval.signed}
    manifest = _manifest(parts, tuple(images))
    papers = {"README.md": readme(manifest), "datasheet.md": datasheet(manifest)}
    return files | {MANIFEST: manifest.to_bytes()} | {name: text.encode() for name, text in papers.items()}


def _manifest(parts: Approved, images: tuple[ReleasedImage, ...]) -> Manifest:
    dossier, trial = parts.dossier, parts.trial
    return Manifest(
        concept=dossier.concept,
        prompt=dossier.prompt,
        images=images,
        dossier=dossier.digest,
        trial=trial.key,
        trial_digest=trial.digest,
        reference_set=dossier.reference_set,
        validation=parts.validation,
        references=parts.references,
        requested_by=parts.approval.requested_by,
        model=trial.model,
        encoder=trial.encoder,
        guard=trial.guard,
        sampler=trial.sampler,
        recipe=trial.recipe,
        code_version=trial.code_version,
        software=trial.software,
        decisions=parts.approval.decisions,
        review_key=parts.review_key,
        ledger=Pin(number=parts.approval.last.number, entry=parts.approval.last.digest),
        keeping=parts.keeping,
    )


def _keeping(bank: Bank) -> Keeping:
    can = bank.store.capabilities()
    return Keeping(conditional_write=can.conditional_write, versioning=can.versioning, object_lock=can.object_lock)


def _seed(bank: Bank, dossier: Dossier, candidate: Candidate) -> Seed:
    key = f"{dossier.folder}/seeds/{candidate.seed}.safetensors"
    try:
        seed = Seed.from_safetensors(bank.store.get(key))
    except KeyError:
        raise VerificationError(f"expected a seed at {key}, it is gone; restore it in {bank.store.url}") from None
    if seed.digest != candidate.seed:
        raise VerificationError(f"expected seed {candidate.seed} at {key}, got {seed.digest}; it was changed")
    return seed


def _statement(files: dict[str, bytes]) -> Statement:
    digests = {name: sha256(data) for name, data in files.items()}
    return Statement.about(digests, PREDICATE, {"manifest": digests[MANIFEST]})


def _read_back(bank: Bank, folder: str, key: PublicKey) -> Release:
    """The release that lies in ``folder``, verified whole."""
    files = read_stored(bank, folder)
    return Release(folder, verify_files(files, key).manifest, sha256(files[STATEMENT]))


def _put_on_record(bank: Bank, release: Release, dossier: Dossier) -> Release:
    manifest = release.manifest
    # A folder's name has 12 of the digest's 64 digits.
    if manifest.dossier != dossier.digest:
        raise VerificationError(
            f"expected the release of dossier {dossier.digest} in {release.folder}, got that of {manifest.dossier}"
        )
    bank.record_once(
        "release.published",
        concept=dossier.concept,
        key=dossier.digest,
        folder=release.folder,
        manifest=manifest.digest,
        statement=release.statement,
        images=len(manifest.images),
        scripted=manifest.scripted,
    )
    return release
