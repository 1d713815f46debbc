"""Scans: what earlier scans of a source made of its files, kept in the store, so that a scheduled scan reads only what is new.

::

    scans/<source>/<number>.jsonl   up to 1,000 files each, a line a file; later lines count
    scans/open/<run>.json           a scan that is under way, or was killed

Nothing depends on these being there: without them everything is read again, and found among the photos on record. An open scan names the
ledger entry behind which its own entries stand, so that a scan after a killed one knows how far to look back for what is on record already.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import Field

from seedbank.evidence.ledger import Ledger
from seedbank.records import Record, canonical_json, sha256
from seedbank.references.intake.listing import Listing, Remembered
from seedbank.storage import ObjectStore

SEGMENT = 1000
"""Files of one object; also how many may be decoded in vain when a scan is killed."""
LOOSE = 16
"""How many objects more than needed there may be before they are written anew."""
OPEN = "scans/open/"


class OpenScan(Record):
    """A scan under way: what it records on the ledger stands behind entry ``after``."""

    source: str
    after: int = Field(ge=0)


@dataclass
class ScanMemory:
    """What is known about the files of one source.

    Args:
        store: keeps it.
        source: the source's URL.
        concept: the concept that all its files were taken for; None if their folders tell.
    """

    store: ObjectStore
    source: str
    concept: str | None
    _lines: list[Remembered] = field(default_factory=list)
    _last: int = 0
    _kept: int = 0

    @property
    def _folder(self) -> str:
        return f"scans/{sha256(canonical_json([self.source, self.concept]))[:32]}/"

    def load(self) -> Iterator[Remembered]:
        """Everything on record, oldest first, one object in memory at a time."""
        self._kept = 0
        for key in self.store.keys(self._folder):
            self._last = int(key.rpartition("/")[2].removesuffix(".jsonl"))
            for line in self.store.get(key).splitlines():
                self._kept += 1
                yield Remembered(*json.loads(line))

    def note(self, file: Remembered) -> bool:
        """Remember a file; True when it is time to :meth:`flush`."""
        self._lines.append(file)
        return len(self._lines) >= SEGMENT

    def flush(self) -> None:
        """Write what was noted."""
        if self._lines:
            self._last += 1
            data = b"".join(json.dumps(line).encode() + b"\n" for line in self._lines)
            self.store.put(f"{self._folder}{self._last:010d}.jsonl", data)
            self._kept += len(self._lines)
            self._lines.clear()

    def tidy(self, listing: Listing) -> None:
        """Write everything anew, without files that are gone, once it lies in many small objects."""
        old = list(self.store.keys(self._folder))
        if len(old) <= self._kept // SEGMENT + LOOSE:
            return
        listing.remember(self.load())
        for item in listing.remembered():
            if self.note(item):
                self.flush()
        self.flush()
        # New before old: killed in between, lines lie twice, and later ones count.
        for key in old:
            self.store.delete(key)


@dataclass
class LedgerWindow:
    """The entries of the ledger among which entries of this scan may already stand."""

    store: ObjectStore
    ledger: Ledger
    source: str
    after: int = 0
    _run: str = ""
    _killed: tuple[str, ...] = ()

    def unfinished(self) -> set[str]:
        """The concepts that got something new from scans of this source that were killed before they could say so."""
        mine = {key: scan.after for key, scan in self._others().items() if scan.source == self.source}
        self._killed = tuple(mine)
        if not mine:
            return set()
        behind = self.ledger.since(min(mine.values()))
        return {entry.concept for entry in behind if entry.event == "intake.accepted"}

    def begin(self) -> None:
        """Say in the store that a scan is under way, before its first entry; does nothing the second time."""
        if not self._run:
            self._run = f"{OPEN}{uuid.uuid4().hex}.json"
            self._move(self._others())

    def advance(self) -> None:
        """Everything recorded so far is finished: look back no further than the other open scans ask for."""
        if self._run:
            self._move(self._others())

    def end(self) -> None:
        """The scan is finished, and so is what killed scans of the same source had begun."""
        for key in (*self._killed, *([self._run] if self._run else ())):
            self.store.delete(key)

    def _others(self) -> dict[str, OpenScan]:
        found = {}
        for key in self.store.keys(OPEN):
            if key != self._run:
                try:
                    found[key] = OpenScan.from_bytes(self.store.get(key))
                except KeyError:  # it has just ended
                    continue
        return found

    def _move(self, others: dict[str, OpenScan]) -> None:
        # The oldest open scan decides: what a killed one wrote must be found, or it would be written again.
        self.after = min([self.ledger.length(), *(scan.after for scan in others.values())])
        self.store.put(self._run, OpenScan(source=self.source, after=self.after).to_bytes())
