"""Intake: takes photos from a folder or bucket to their concepts, and the bad ones into quarantine, each with a reason.

Every file is accounted for exactly once, as one of the kinds of :data:`~seedbank.references.intake.outcomes.OutcomeKind`. Blobs are written
first and the record that names them last, so intake may be killed at any point and run again; files that have not changed since the last
scan are not read again::

    originals/<photo>                  the bytes as they came
    working/<photo>.png                upright sRGB, no metadata
    measures/<photo>.json              what was measured of it
    photos/<concept>/<photo>.json      the Reference: the photo belongs to the concept
    quarantine/<concept>/<photo>.json, quarantine/bytes/<photo>
    duplicates/<concept>/<digest>.json
    scans/…                            what was seen where (:mod:`seedbank.references.intake.scans`)
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from seedbank.bank import Bank
from seedbank.concepts import NAME_PATTERN
from seedbank.errors import RefusedError
from seedbank.extras import require
from seedbank.records import canonical_json, sha256
from seedbank.references.intake.decode import NotAPhoto, NotNow
from seedbank.references.intake.listing import Arrival, Listing, Remembered, RememberedKind
from seedbank.references.intake.outcomes import IntakeReport, Outcome, OutcomeCounter, OutcomeKind
from seedbank.references.intake.sandbox import Sandboxes, WorkingCopy
from seedbank.references.intake.scans import LedgerWindow, ScanMemory
from seedbank.references.intake.sources import open_source, printable
from seedbank.references.measures.kept import keep_measures
from seedbank.references.records import Duplicate, Quarantined, Reference, Rights, load_photo, photo_key
from seedbank.references.rights import NoRights, face_question

UNSORTED = "_unsorted"
"""Quarantine of files that lie in no known concept's folder; no concept can have this name."""
TAKEN_IN_BEFORE = "taken in before"
RULES = 1
"""Raise when files that were refused may be accepted now: they are then read again. Accepted ones are not."""
MAX_WORKERS = 4
"""Photos decoded at once, at most; one more than the cores would only cost memory."""
THREADS = 2
"""For each decoder: one waits for it while the other waits for the store."""
AHEAD = 2
"""Files read ahead of the threads, each at most 64 MiB."""

WRITE_SIDECAR = "whoever cleared the photo must write one beside it, named photo.jpg.yaml, or a row of rights.csv"


def intake(
    bank: Bank,
    source: str | Path,
    *,
    concept: str | None = None,
    requested_by: str,
    progress: Callable[[Outcome], None] | None = None,
    again: bool = False,
    s3: Mapping[str, str] | None = None,
    sandboxes: Sandboxes | None = None,
) -> IntakeReport:
    """Take in every file of ``source``. Running it again changes nothing; bad files never stop the batch.

    Args:
        bank: where the photos go.
        source: a folder or ``s3://bucket/prefix`` with a folder for each concept, or with photos of one concept.
        concept: the concept of all the photos; None to take it from the folders.
        requested_by: id of who asked for it, for the ledger. Neither they nor the actor may review images of a concept with files here.
        progress: called with what became of each file.
        again: read files again that have not changed since the last scan.
        s3: how to reach a bucket (:func:`seedbank.storage.s3.connect`); None for the environment.
        sandboxes: where to decode, for a caller that takes in many small batches; None to start and stop one for each core.

    Raises:
        UsageError: there is no such folder, no concept of this name, or what decodes photos is not installed.
        StoreError: the store or the bucket failed; run it again to go on.
    """
    require("references")  # a decoder that cannot start would send every file into quarantine
    if concept is not None:
        bank.concept(concept)
    concepts = frozenset(path.stem for path in bank.settings.concepts.glob("*.yaml"))
    opened, counter = open_source(source, s3=s3), OutcomeCounter()
    memory = ScanMemory(bank.store, opened.url, concept)
    with ExitStack() as stack:
        listing = stack.enter_context(Listing(opened, concept))
        # Cores that this process may use, which in a container are fewer than the machine has.
        decoders = sandboxes or stack.enter_context(Sandboxes(max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0))))))
        threads = decoders.count * THREADS
        executor = stack.enter_context(ThreadPoolExecutor(threads))
        listing.remember(item for item in memory.load() if not again)
        window = LedgerWindow(bank.store, bank.ledger, opened.url)
        counter.new |= window.unfinished()
        run = _Run(
            bank=bank,
            concepts=concepts,
            sandboxes=decoders,
            executor=executor,
            requested_by=requested_by,
            source=opened.url,
            window=window,
            asking=dataclasses.replace(bank, ledger=dataclasses.replace(bank.ledger)),
        )
        for arrival, outcome in run.take(listing, ahead=threads + AHEAD):
            counter.count(outcome)
            if progress:
                progress(outcome)
            if (fresh := run.to_remember(arrival, outcome)) and memory.note(fresh):
                # In this order: the window may leave only those entries behind whose files the next scan will not judge again.
                memory.flush()
                window.advance()
        memory.flush()
        window.end()
        memory.tidy(listing)
        return counter.report(listing.notes())


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What all files of one intake share. Files are read and decoded ahead; what is written down about them is written in order."""

    bank: Bank
    concepts: frozenset[str]
    sandboxes: Sandboxes
    executor: ThreadPoolExecutor
    requested_by: str
    source: str
    window: LedgerWindow
    asking: Bank
    """The bank with a ledger of its own: what it looks through for requests is not forgotten with the window."""
    decoding: set[tuple[str, str]] = field(default_factory=set)
    """Concept and digest of the photos that are being decoded."""
    requested: set[str] = field(default_factory=set)
    """Concepts of which the ledger knows that this intake was asked for."""

    def take(self, arrivals: Listing, *, ahead: int) -> Iterator[tuple[Arrival, Outcome]]:
        """What becomes of each file, in order; up to ``ahead`` of them are under way at once."""
        under_way: deque[tuple[Arrival, Callable[[], Outcome]]] = deque()
        for arrival in arrivals:
            under_way.append((arrival, self._begin(arrival)))
            if len(under_way) > ahead:
                earlier, finish = under_way.popleft()
                yield earlier, finish()
        for earlier, finish in under_way:
            yield earlier, finish()

    def to_remember(self, arrival: Arrival, outcome: Outcome) -> Remembered | None:
        """What the next scan should know of this file; None when it knows already, or must look again whatever happens."""
        if outcome.passing or (arrival.before and self._holds(arrival.before, arrival)):
            return None
        kind: RememberedKind = "unsorted" if self._folder_fault(arrival) else outcome.kind
        return Remembered(
            key=arrival.key,
            mark=arrival.mark,
            kind=kind,
            digest=outcome.digest,
            reason=outcome.reason,
            rules=RULES,
        )

    def _holds(self, before: Remembered, arrival: Arrival) -> bool:
        """Whether an earlier scan's answer about an unchanged file is still ours: concepts come and go, and rules improve."""
        if bool(self._folder_fault(arrival)) != (before.kind == "unsorted"):
            return False
        return before.kind != "quarantined" or before.rules == RULES

    def _begin(self, arrival: Arrival) -> Callable[[], Outcome]:
        """Read a file and start decoding it; the function that finishes it. Nothing is written down yet but who asks."""
        self._request(self._shelf(arrival))
        before = arrival.before
        if before and self._holds(before, arrival):
            return lambda: _as_before(before, arrival, self._shelf(arrival))
        data: bytes | None = None
        try:
            if fault := arrival.fault or self._folder_fault(arrival):
                raise NotAPhoto(fault)
            data = arrival.read()
        except RefusedError as error:
            return partial(self._quarantine, arrival, data, error)
        if (
            arrival.concept,
            sha256(data),
        ) in self.decoding:  # its twin is under way: what it is shows when that is finished
            return lambda: self._judge(arrival, data)()
        return self._judge(arrival, data)

    def _judge(self, arrival: Arrival, data: bytes) -> Callable[[], Outcome]:
        photo = sha256(data)
        try:
            # On record first: known bytes need no decoder.
            if on_record := load_photo(self.bank, arrival.concept, photo):
                return self._begin_again(arrival, on_record)
            rights = arrival.rights()
            if rights is None:
                raise NoRights(f"no rights on record: {arrival.missing}; {WRITE_SIDECAR}")
        except RefusedError as error:
            return partial(self._quarantine, arrival, data, error)
        self.decoding.add((arrival.concept, photo))
        copy = self.executor.submit(self._decode, photo, data)
        return partial(self._finish, arrival, photo, data, rights, copy)

    def _begin_again(self, arrival: Arrival, on_record: Reference) -> Callable[[], Outcome]:
        """For the bytes of a photo that the concept has: a duplicate, or the same file with the same or with other rights."""
        if on_record.name != arrival.name:
            return partial(self._duplicate, arrival, on_record)
        rights = arrival.rights()
        if rights is None or rights == on_record.rights:
            return partial(_known, on_record)
        return partial(self._accept, on_record.model_copy(update={"rights": rights}), "rights changed")

    def _decode(self, photo: str, data: bytes) -> tuple[WorkingCopy, str]:
        """Runs in a thread: the working copy without its bytes, which are stored, and their digest."""
        copy, key = self.sandboxes.decode(data), f"working/{photo}.png"
        # After decoding: bytes that are refused belong into quarantine only.
        self.bank.store.put_new(f"originals/{photo}", data)
        keep_measures(self.bank.store, photo, copy.measures)
        fresh = self.bank.store.put_new(key, copy.png)
        # Another version of a decoder may have made the copy that is kept: the record names what lies there.
        digest = sha256(copy.png if fresh else self.bank.store.get(key))
        return dataclasses.replace(copy, png=b""), digest

    def _finish(
        self, arrival: Arrival, photo: str, data: bytes, rights: Rights, decoded: Future[tuple[WorkingCopy, str]]
    ) -> Outcome:
        try:
            copy, digest = decoded.result()
        except RefusedError as error:
            return self._quarantine(arrival, data, error)
        finally:
            self.decoding.discard((arrival.concept, photo))
        reference = Reference(
            photo=photo,
            concept=arrival.concept,
            name=arrival.name,
            working=digest,
            width=copy.width,
            height=copy.height,
            format=copy.format,
            faces=copy.faces,
            rights=rights,
        )
        return self._accept(reference, "taken in")

    def _folder_fault(self, arrival: Arrival) -> str:
        if not arrival.concept:
            return "in no concept's folder: put it into a folder named after its concept, or name one with --concept"
        if arrival.concept not in self.concepts or not re.fullmatch(NAME_PATTERN, arrival.concept):
            return f"no concept {printable(arrival.concept)!r}: write its concept file first, or rename the folder"
        return ""

    def _shelf(self, arrival: Arrival) -> str:
        """The concept under which a file is written down."""
        return arrival.concept if arrival.concept in self.concepts else UNSORTED

    def _stored(self, key: str) -> bytes | None:
        try:
            return self.bank.store.get(key)
        except KeyError:
            return None

    def _accept(self, reference: Reference, reason: str) -> Outcome:
        kind: OutcomeKind = "accepted"
        if question := face_question(reference):
            kind, reason = "waiting", question
        # The ledger, then the photo's record: killed in between, the next scan misses the record and does both again, of
        # which the ledger takes one.
        self._record(
            "photo.waiting" if question else "intake.accepted",
            concept=reference.concept,
            key=reference.digest,
            photo=reference.photo,
            name=reference.name,
            reason=reason,
        )
        self.bank.store.put(photo_key(reference.concept, reference.photo), reference.to_bytes())
        self._leave_quarantine(reference.concept, reference.photo)
        return _outcome(kind, reference, reason)

    def _duplicate(self, arrival: Arrival, original: Reference) -> Outcome:
        reason = f"exact duplicate: the same bytes as {original.name}, which was taken in"
        record = Duplicate(name=arrival.name, concept=original.concept, photo=original.photo, of=original.name)
        key = f"duplicates/{record.concept}/{record.digest}.json"
        if not self.bank.store.exists(key):
            self._record(
                "photo.duplicate",
                concept=record.concept,
                key=record.digest,
                photo=record.photo,
                name=record.name,
                of=record.of,
                reason=reason,
            )
            self.bank.store.put(key, record.to_bytes())
        return Outcome(
            kind="duplicate", name=arrival.name, concept=original.concept, digest=original.photo, reason=reason
        )

    def _quarantine(self, arrival: Arrival, data: bytes | None, error: RefusedError) -> Outcome:
        identity = data if data is not None else canonical_json({"name": arrival.name, "size": arrival.size})
        record = Quarantined(
            name=arrival.name,
            concept=self._shelf(arrival),
            photo=sha256(identity),
            reason=str(error),
            size=arrival.size if data is None else len(data),
            kept=data is not None,
        )
        key = f"quarantine/{record.concept}/{record.photo}.json"
        # The same bytes under another name or with another reason are news; the same again is not.
        if self._stored(key) != record.to_bytes():
            if data is not None:
                self.bank.store.put_new(f"quarantine/bytes/{record.photo}", data)
            self._record(
                "intake.quarantined",
                concept=record.concept,
                key=record.digest,
                photo=record.photo,
                name=record.name,
                reason=record.reason,
            )
            self.bank.store.put(key, record.to_bytes())
        return Outcome(
            kind="quarantined",
            name=record.name,
            concept=record.concept,
            digest=record.photo,
            reason=record.reason,
            passing=isinstance(error, NotNow),
        )

    def _request(self, concept: str) -> None:
        """Write down who asks for photos of ``concept`` to be taken in, before its first file is looked at."""
        if concept not in self.requested and concept != UNSORTED:
            self.requested.add(concept)
            self.asking.request("intake", concept=concept, subject=self.source, requested_by=[self.requested_by])

    def _record(self, event: str, *, concept: str, key: str, **facts: str) -> None:
        self.window.begin()
        self.bank.record_once(
            event, concept=concept, key=key, after=self.window.after, requested_by=self.requested_by, **facts
        )

    def _leave_quarantine(self, concept: str, photo: str) -> None:
        """Drop the quarantine record of a photo that was accepted after all, and its bytes unless another concept still holds them."""
        store, key = self.bank.store, f"quarantine/{concept}/{photo}.json"
        if not store.exists(key):
            return
        store.delete(key)
        if not any(store.exists(f"quarantine/{other}/{photo}.json") for other in (*self.concepts, UNSORTED)):
            store.delete(f"quarantine/bytes/{photo}")


def _outcome(kind: OutcomeKind, reference: Reference, reason: str) -> Outcome:
    return Outcome(kind=kind, name=reference.name, concept=reference.concept, digest=reference.photo, reason=reason)


def _known(on_record: Reference) -> Outcome:
    if question := face_question(on_record):
        return _outcome("waiting", on_record, question)
    return _outcome("known", on_record, TAKEN_IN_BEFORE)


def _as_before(before: Remembered, arrival: Arrival, concept: str) -> Outcome:
    """The outcome of a file that has not changed since an earlier scan."""
    kind: OutcomeKind = "quarantined" if before.kind == "unsorted" else before.kind
    reason = before.reason
    if kind == "accepted":
        kind, reason = "known", TAKEN_IN_BEFORE
    return Outcome(kind=kind, name=arrival.name, concept=concept, digest=before.digest, reason=reason)
