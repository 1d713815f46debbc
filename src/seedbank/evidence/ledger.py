"""The ledger: an append-only, hash-chained record of everything that happened.

Each entry is one object, ``ledger/<number>.json``, written with a new-only write, so two writers can never both become entry *n*. An
entry holds the SHA-256 of the entry before it; changing, removing or inserting one breaks every hash that follows. Only the newest entries
can be cut off unseen by the chain itself, so every signed release pins the entry of its last decision, and :meth:`Ledger.verify` takes such
pins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from seedbank.errors import StoreError, VerificationError
from seedbank.records import Record
from seedbank.storage.base import ObjectStore

GENESIS = "0" * 64
"""What the first entry names as its predecessor."""
ATTEMPTS = 100
"""How often an append that lost the race for a number tries the next one."""


class Entry(Record):
    """One thing that happened.

    Attributes:
        number: position in the chain, from 1.
        previous: digest of the entry before, or :data:`GENESIS`.
        time: UTC, ISO 8601 with seconds.
        actor: who or what did it (a person's id, ``airflow:<dag>``, ``cli:<user>``, ``scripted:<id>``).
        event: what happened, dotted: ``intake.accepted``, ``trial.finished``, ``decision.recorded``, ``release.published``.
        concept: the concept it is about.
        data: digests and small facts; never blobs.
    """

    number: int = Field(ge=1)
    previous: str = Field(pattern=r"^[0-9a-f]{64}$")
    time: str
    actor: str
    event: str = Field(pattern=r"^[a-z]+(\.[a-z_]+)+$")
    concept: str
    data: dict[str, Any]


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class _Seen:
    """Which events behind entry ``start`` this process has seen on the ledger, so that :meth:`Ledger.once` reads each entry once, and none
    that :meth:`Ledger.verified` has read."""

    start: int = 0
    newest: Entry | None = None
    numbers: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Remember the next entry."""
        self.newest = entry
        if isinstance(key := entry.data.get("key"), str):
            # The earliest entry under a key is the one; a later one adds nothing.
            self.numbers.setdefault((entry.event, entry.concept, key), entry.number)

    def replace(self, other: _Seen) -> None:
        """Know what ``other`` knows and nothing else."""
        self.start, self.newest, self.numbers = other.start, other.newest, other.numbers

    def begin(self, start: int, newest: Entry | None) -> None:
        """Forget everything up to entry ``start``; ``newest`` is that entry if nothing behind it was seen yet."""
        self.start, self.newest = start, newest
        self.numbers = {what: number for what, number in self.numbers.items() if number > start}


@dataclass(frozen=True)
class Ledger:
    """The ledger kept in ``store``; ``clock`` gives the time of new entries."""

    store: ObjectStore
    clock: Callable[[], str] = _utc_now
    _seen: _Seen = field(default_factory=_Seen, init=False, repr=False, compare=False)

    def append(self, event: str, *, actor: str, concept: str, **data: Any) -> Entry:
        """Add an entry after the newest one and return it. Safe against any number of concurrent writers."""
        previous = self.head()
        for _ in range(ATTEMPTS):
            entry = self._follow(previous, event, actor, concept, data)
            if self.store.put_new(_key(entry.number), entry.to_bytes()):
                return entry
            # Another writer took the number: chain behind that entry.
            previous = self._read(entry.number)
        raise self._too_busy()

    def once(self, event: str, *, actor: str, concept: str, key: str, after: int = 0, **data: Any) -> Entry:
        """Like :meth:`append`, but return the existing entry if this event is on record for the concept with ``data['key'] == key``.

        Of any number of processes that do this at once, one adds the entry: an entry is only ever written behind entries that its writer
        has looked through.

        Args:
            event: what happened.
            actor: who did it.
            concept: what it is about.
            key: tells this event from others of its kind.
            after: a number up to which the caller knows that there is no such entry: those are neither read nor kept in mind.
            data: more about it.
        """
        self._look_back(after)
        for _ in range(ATTEMPTS):
            if number := self._seen.numbers.get((event, concept, key)):
                if (found := self._find(number)) is not None:
                    return found
                self._seen.newest = None  # entries were taken away since we looked: look again, and let verify tell
                self._look_back(after)
            # Every entry up to this number was looked through, so no twin can stand before it: the number is free, or taken.
            entry = self._follow(self._seen.newest, event, actor, concept, {**data, "key": key})
            if self.store.put_new(_key(entry.number), entry.to_bytes()):
                self._seen.take(entry)
                return entry
            # Lost the race for the number, and the winner may have written this very event.
            self._catch_up()
        raise self._too_busy()

    def length(self) -> int:
        """The number of the newest entry, 0 for an empty ledger."""
        if self._seen.newest is None:
            # Names alone tell the number: nothing need be read.
            return max(self._numbers(), default=0)
        self._catch_up()
        return self._seen.newest.number

    def head(self) -> Entry | None:
        """The newest entry, or None for an empty ledger."""
        number = max(self._numbers(), default=0)
        return self._read(number) if number else None

    def entries(self, *, concept: str | None = None, event: str | None = None) -> Iterator[Entry]:
        """Entries in order, optionally only those of a concept and an event (or its children, ``trial`` for ``trial.finished``)."""
        for key in self.store.keys("ledger/"):
            entry = Entry.from_bytes(self.store.get(key))
            wanted = event is None or entry.event == event or entry.event.startswith(event + ".")
            if wanted and (concept is None or entry.concept == concept):
                yield entry

    def since(self, number: int) -> Iterator[Entry]:
        """Entries behind ``number``, in order."""
        # By number: listing a long ledger costs more than the few entries behind.
        while (entry := self._find(number + 1)) is not None:
            number = entry.number
            yield entry

    def verify(self, pinned: Mapping[int, str] | None = None) -> int:
        """Check the whole chain and return its length; takes and raises the same as :meth:`verified`."""
        return sum(1 for _ in self.verified(pinned))

    def verified(self, pinned: Mapping[int, str] | None = None) -> Iterator[Entry]:
        """Every entry in order, each checked before it is given out. The chain holds when all have been: the last check comes at the end.

        Args:
            pinned: digests of entries by number, known from elsewhere (signed releases); they must be in the chain.

        Raises:
            VerificationError: an entry is missing, changed, reordered or not canonical.
        """
        previous, count = GENESIS, 0
        wanted, seen = dict(pinned or {}), _Seen()
        for key in self.store.keys("ledger/"):
            data = self.store.get(key)
            entry = Entry.from_bytes(data)
            count += 1
            # Keys are listed in ascending order, so a gap shows as a wrong number.
            if key != _key(count) or entry.number != count:
                raise VerificationError(
                    f"expected ledger entry {count}, got {key} with number {entry.number}; an entry was removed or moved"
                )
            if entry.previous != previous or entry.to_bytes() != data:
                raise VerificationError(
                    f"ledger entry {count} does not follow from entry {count - 1}; one of them was changed"
                )
            previous = entry.digest
            # Against the digest of the bytes just read: a chain that was rewritten from here on is consistent in itself.
            if wanted.pop(count, previous) != previous:
                raise VerificationError(
                    f"ledger entry {count} is not the one a release pinned; the ledger was rewritten"
                )
            seen.take(entry)
            yield entry
        if wanted:
            raise VerificationError(
                f"a release pinned ledger entry {max(wanted)}, but the ledger ends at {count}; its newest entries were removed"
            )
        # Only now: an iteration that is broken off, or fails, must leave no unchecked entry behind as seen.
        self._seen.replace(seen)

    def _follow(self, previous: Entry | None, event: str, actor: str, concept: str, data: dict[str, Any]) -> Entry:
        """The entry that would come after ``previous``."""
        return Entry(
            number=previous.number + 1 if previous else 1,
            previous=previous.digest if previous else GENESIS,
            time=self.clock(),
            actor=actor,
            event=event,
            concept=concept,
            data=data,
        )

    def _look_back(self, after: int) -> None:
        """Know every entry behind ``after`` that was there at some time in this process; later ones are found when a write meets them."""
        seen = self._seen
        # All behind `after` has been seen, and entries never change: nothing is read again.
        if seen.newest is not None and seen.start <= after <= seen.newest.number:
            if after > seen.start:
                seen.begin(after, seen.newest)
            return
        # `after` lies before what was seen, or behind its end: look anew.
        seen.numbers.clear()
        seen.begin(after, self._read(after) if after else None)
        for number in sorted(number for number in self._numbers() if number > after):
            seen.take(self._read(number))

    def _catch_up(self) -> None:
        """Look through the entries that came since the last time. Entries never change, so one look at each does."""
        number = self._seen.newest.number + 1 if self._seen.newest else 1
        while (entry := self._find(number)) is not None:
            self._seen.take(entry)
            number += 1

    def _numbers(self) -> Iterator[int]:
        for key in self.store.keys("ledger/"):
            if not (match := _KEY.fullmatch(key)):
                raise VerificationError(
                    f"expected only numbered entries in the ledger, got {key}; remove it from {self.store.url}"
                )
            yield int(match[1])

    def _find(self, number: int) -> Entry | None:
        try:
            return self._read(number)
        except KeyError:
            return None

    def _read(self, number: int) -> Entry:
        return Entry.from_bytes(self.store.get(_key(number)))

    def _too_busy(self) -> StoreError:
        return StoreError(
            f"could not append to the ledger in {self.store.url} after {ATTEMPTS} tries; too many writers at once"
        )


# Ten digits with leading zeros, so that the order of keys is the order of numbers.
_KEY = re.compile(r"ledger/(\d{10})\.json")


def _key(number: int) -> str:
    return f"ledger/{number:010d}.json"
