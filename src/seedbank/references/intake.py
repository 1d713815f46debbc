"""Intake: takes photos from a folder or bucket into the pools of their concepts, and the bad ones into quarantine, each with a reason.

Every file is accounted for exactly once: *accepted* (new, or its rights changed), *known* (these bytes are in the pool already) or
*quarantined*. Blobs are written first and the record that names them last, so intake may be killed at any point and run again::

    originals/<photo>            the bytes as they came
    working/<photo>.png          upright sRGB, no metadata
    pools/<concept>/<photo>.json the Reference: the photo belongs to the concept's pool
    quarantine/<concept>/<photo>.json, quarantine/bytes/<photo>
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from seedbank.bank import Bank
from seedbank.concepts import NAME_PATTERN
from seedbank.errors import RefusedError
from seedbank.records import Record, canonical_json, sha256
from seedbank.references.decode import NotAPhoto
from seedbank.references.reference import DIGEST, Reference
from seedbank.references.rights import parse_sidecar
from seedbank.references.sandbox import Sandbox
from seedbank.references.sources import Arrival, open_source, printable

UNSORTED = "_unsorted"
"""Quarantine of files that lie in no known concept's folder; no concept can have this name."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file, and why, in plain words.

    ``digest`` is the SHA-256 of its bytes; of a file that was never read, of its name and size.
    """

    name: str
    concept: str
    digest: str
    reason: str


class Quarantined(Record):
    """A file in quarantine. ``kept`` says whether its bytes lie under ``quarantine/bytes/<photo>``."""

    name: str
    concept: str
    photo: str = Field(pattern=DIGEST)
    reason: str
    size: int
    kept: bool


@dataclass(frozen=True)
class IntakeReport:
    """What became of every file of a batch."""

    accepted: tuple[Outcome, ...]
    known: tuple[Outcome, ...]
    quarantined: tuple[Outcome, ...]

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the concepts whose pools got something new, in alphabetical order."""
        return tuple(sorted({outcome.concept for outcome in self.accepted}))


def intake(
    bank: Bank,
    source: str | Path,
    *,
    concept: str | None = None,
    requested_by: str,
    progress: Callable[[Outcome], None] | None = None,
) -> IntakeReport:
    """Take in every file of ``source``. Running it again changes nothing; bad files never stop the batch.

    Args:
        bank: where the photos go.
        source: a folder or ``s3://bucket/prefix`` with a folder for each concept, or with photos of one concept.
        concept: the concept of all the photos; None to take it from the folders.
        requested_by: id of who asked for it, for the ledger.
        progress: called with what became of each file.

    Raises:
        UsageError: there is no such folder or no concept of this name.
        StoreError: the store or the bucket failed; run it again to go on.
    """
    if concept is not None:
        bank.concept(concept)
    concepts = frozenset(path.stem for path in bank.settings.concepts.glob("*.yaml"))
    outcomes = []
    with Sandbox() as sandbox:
        batch = _Batch(bank, concepts, sandbox, requested_by)
        for arrival in open_source(source, concept=concept):
            outcomes.append(batch.take(arrival))
            if progress:
                progress(outcomes[-1][1])
    accepted, known, quarantined = (
        tuple(outcome for kind, outcome in outcomes if kind == wanted)
        for wanted in ("accepted", "known", "quarantined")
    )
    return IntakeReport(accepted, known, quarantined)


def load_pool(bank: Bank, concept: str) -> tuple[Reference, ...]:
    """All references of a concept's pool, in the order of their digests."""
    return tuple(Reference.from_bytes(bank.store.get(key)) for key in bank.store.keys(f"pools/{concept}/"))


@dataclass(frozen=True)
class _Batch:
    """What all files of one intake share."""

    bank: Bank
    concepts: frozenset[str]
    sandbox: Sandbox
    requested_by: str

    def take(self, arrival: Arrival) -> tuple[str, Outcome]:
        data: bytes | None = None
        try:
            if arrival.fault:
                raise NotAPhoto(arrival.fault)
            self._check_folder(arrival)
            data = arrival.read()
            before, sidecar = self._in_pool(arrival.concept, data), arrival.sidecar()
            if before and (before.name != arrival.name or sidecar is None):
                return "known", _known(before, arrival.name)
            rights = parse_sidecar(sidecar)
            if before and before.rights == rights:
                return "known", _known(before, arrival.name)
            copy = self.sandbox.decode(data)
        except RefusedError as error:
            return "quarantined", self._quarantine(arrival, data, str(error))
        size = {"width": copy.width, "height": copy.height, "format": copy.format}
        reference = Reference(photo=sha256(data), concept=arrival.concept, name=arrival.name, rights=rights, **size)
        reason = "rights changed" if before else "taken in"
        self._accept(reference, data, copy.png, reason)
        return "accepted", Outcome(
            name=reference.name, concept=reference.concept, digest=reference.photo, reason=reason
        )

    def _check_folder(self, arrival: Arrival) -> None:
        if not arrival.concept:
            raise NotAPhoto(
                "in no concept's folder: put it into a folder named after its concept, or name one with --concept"
            )
        if arrival.concept not in self.concepts or not re.fullmatch(NAME_PATTERN, arrival.concept):
            raise NotAPhoto(
                f"no concept {printable(arrival.concept)!r}: write its concept file first, or rename the folder"
            )

    def _in_pool(self, concept: str, data: bytes) -> Reference | None:
        try:
            return Reference.from_bytes(self.bank.store.get(f"pools/{concept}/{sha256(data)}.json"))
        except KeyError:
            return None

    def _accept(self, reference: Reference, data: bytes, png: bytes, reason: str) -> None:
        store = self.bank.store
        store.put_new(f"originals/{reference.photo}", data)
        store.put_new(f"working/{reference.photo}.png", png)
        self._record("intake.accepted", reference.concept, reference.digest, reference.photo, reference.name, reason)
        store.put(f"pools/{reference.concept}/{reference.photo}.json", reference.to_bytes())
        self._leave_quarantine(reference.concept, reference.photo)

    def _quarantine(self, arrival: Arrival, data: bytes | None, reason: str) -> Outcome:
        identity = data if data is not None else canonical_json({"name": arrival.name, "size": arrival.size})
        record = Quarantined(
            name=arrival.name,
            concept=arrival.concept if arrival.concept in self.concepts else UNSORTED,
            photo=sha256(identity),
            reason=reason,
            size=arrival.size if data is None else len(data),
            kept=data is not None,
        )
        if data is not None:
            self.bank.store.put_new(f"quarantine/bytes/{record.photo}", data)
        self._record("intake.quarantined", record.concept, record.digest, record.photo, record.name, reason)
        self.bank.store.put(f"quarantine/{record.concept}/{record.photo}.json", record.to_bytes())
        return Outcome(name=record.name, concept=record.concept, digest=record.photo, reason=reason)

    def _record(self, event: str, concept: str, key: str, photo: str, name: str, reason: str) -> None:
        facts = {"photo": photo, "name": name, "reason": reason, "requested_by": self.requested_by}
        self.bank.record_once(event, concept=concept, key=key, **facts)

    def _leave_quarantine(self, concept: str, photo: str) -> None:
        """Drop the quarantine record of a photo that was accepted after all, and its bytes unless another concept still holds them."""
        store, key = self.bank.store, f"quarantine/{concept}/{photo}.json"
        if not store.exists(key):
            return
        store.delete(key)
        if not any(other.endswith(f"/{photo}.json") for other in store.keys("quarantine/")):
            store.delete(f"quarantine/bytes/{photo}")


def _known(before: Reference, name: str) -> Outcome:
    duplicate = f"exact duplicate: the same bytes as {before.name}, which is in the pool"
    reason = "already in the pool" if before.name == name else duplicate
    return Outcome(name=name, concept=before.concept, digest=before.photo, reason=reason)
