"""Publication: exactly what was approved, byte for byte, signed, once.

1. :func:`seedbank.review.decisions.approved` must hold, and the rights of every reference must hold today.
2. All files are written, then read back and verified together with the statement as an auditor would.
3. The statement is written last, with a new-only write; a folder without one is no release. Then the ledger.

All bytes follow from the dossier, the decisions and the store, so that a publication that was killed is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from seedbank.bank import Bank
from seedbank.errors import VerificationError
from seedbank.evidence.signing import PublicKey, Statement, ensure_key
from seedbank.records import sha256
from seedbank.references.clearance import cleared
from seedbank.references.records import Reference, load_reference_set
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
from seedbank.release.software import software
from seedbank.release.verify import read_stored, verify_files
from seedbank.review.decisions import approved
from seedbank.review.records import Decision, Dossier, envelope_of, load_dossier, trial_of
from seedbank.selection.seeds import Seed
from seedbank.trials.images import read_picture
from seedbank.trials.records import Candidate


def publish(bank: Bank, dossier_digest: str, *, today: date | None = None) -> Release:
    """Publish the candidates of an approved dossier, or return the release that was published.

    Args:
        bank: holds the dossier and the decisions; gets the release.
        dossier_digest: which dossier.
        today: the day on which rights must hold; None for today (UTC).

    Raises:
        NotApproved: the decisions on record do not allow it.
        UnusableReferences: the rights of a reference do not hold any more.
        VerificationError: a picture, seed or record is not the one that was approved.
    """
    dossier = load_dossier(bank, dossier_digest)
    folder = release_folder(dossier.concept, dossier_digest)
    signer = ensure_key(bank.settings.keys, "release")
    if not bank.store.exists(f"{folder}/{STATEMENT}"):
        decisions = approved(bank, dossier_digest)
        references = cleared(bank, dossier.concept, dossier.references, today=today)
        files = release_files(bank, dossier, decisions, references)
        for name, data in files.items():
            bank.store.put(f"{folder}/{name}", data)
        sealed = signer.seal(_statement(files))
        verify_files({**read_stored(bank, folder), STATEMENT: sealed}, signer.public)
        bank.store.put_new(f"{folder}/{STATEMENT}", sealed)
    return _published(bank, folder, dossier, signer.public)


def release_files(
    bank: Bank, dossier: Dossier, decisions: Sequence[Decision], references: tuple[Reference, ...]
) -> dict[str, bytes]:
    """Every file of the release but its statement."""
    files: dict[str, bytes] = {DOSSIER: dossier.to_bytes()}
    images = []
    for number, candidate in enumerate(dossier.candidates, start=1):
        name = f"{dossier.concept}-{number:02d}"
        seed = _seed(bank, dossier, candidate)
        image = ReleasedImage(
            file=f"images/{name}.png", seed_file=f"seeds/{name}.safetensors", candidate=candidate, lineage=seed.lineage
        )
        files |= {image.file: read_picture(bank, dossier.folder, candidate), image.seed_file: seed.to_safetensors()}
        images.append(image)
    files |= {decision_file(decision.seat): envelope_of(bank, decision) for decision in decisions}
    manifest = _manifest(bank, dossier, tuple(images), tuple(decisions), references)
    papers = {"README.md": readme(manifest), "datasheet.md": datasheet(manifest)}
    return files | {MANIFEST: manifest.to_bytes()} | {name: text.encode() for name, text in papers.items()}


def _manifest(
    bank: Bank,
    dossier: Dossier,
    images: tuple[ReleasedImage, ...],
    decisions: tuple[Decision, ...],
    references: tuple[Reference, ...],
) -> Manifest:
    trial = trial_of(bank, dossier)
    return Manifest(
        concept=dossier.concept,
        prompt=dossier.prompt,
        images=images,
        dossier=dossier.digest,
        trial=trial.key,
        trial_digest=trial.digest,
        reference_set=dossier.reference_set,
        validation=load_reference_set(bank, dossier.reference_set).validation,
        references=references,
        requested_by=dossier.requested_by,
        model=trial.model,
        encoder=trial.encoder,
        guard=trial.guard,
        sampler=trial.sampler,
        recipe=trial.recipe,
        code_version=trial.code_version,
        software=software(),
        decisions=decisions,
        review_key=PublicKey.read(bank.settings.keys / "review.pub").pem,
        ledger=_pin(bank, dossier),
        keeping=_keeping(bank),
    )


def _pin(bank: Bank, dossier: Dossier) -> Pin:
    """The ledger's entry of the last decision: later entries may be there by the time another process finishes this publication."""
    entries = bank.ledger.entries(concept=dossier.concept, event="decision.recorded")
    *_, last = (entry for entry in entries if entry.data.get("dossier") == dossier.digest)
    return Pin(number=last.number, entry=last.digest)


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


def _published(bank: Bank, folder: str, dossier: Dossier, key: PublicKey) -> Release:
    """The release in ``folder``, verified whole, and on the ledger."""
    files = read_stored(bank, folder)
    manifest = verify_files(files, key).manifest
    if manifest.dossier != dossier.digest:
        raise VerificationError(
            f"expected the release of dossier {dossier.digest} in {folder}, got that of {manifest.dossier}"
        )
    release = Release(folder, manifest, sha256(files[STATEMENT]))
    bank.record_once(
        "release.published",
        concept=dossier.concept,
        key=dossier.digest,
        folder=folder,
        manifest=manifest.digest,
        statement=release.statement,
        images=len(manifest.images),
        scripted=manifest.scripted,
    )
    return release
