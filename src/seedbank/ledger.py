"""The ledger: an append-only, hash-chained record of everything that happened.

Each entry is one object, ``ledger/<number>.json``, written with a new-only write, so two writers can never both become entry *n*. An
entry holds the SHA-256 of the entry before it; changing, removing or inserting one breaks every hash that follows. The newest digest
(the *head*) goes into every signed release, which pins the chain up to that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Ledger:
    """The ledger kept in ``store``; ``clock`` gives the time of new entries."""

    store: ObjectStore
    clock: Callable[[], str] = _utc_now

    def append(self, event: str, *, actor: str, concept: str, **data: Any) -> Entry:
        """Add an entry after the newest one and return it. Safe against any number of concurrent writers."""
        previous = self.head()
        for _ in range(ATTEMPTS):
            entry = Entry(
                number=previous.number + 1 if previous else 1,
                previous=previous.digest if previous else GENESIS,
                time=self.clock(),
                actor=actor,
                event=event,
                concept=concept,
                data=data,
            )
            if self.store.put_new(_key(entry.number), entry.to_bytes()):
                return entry
            previous = self._read(entry.number)
        raise StoreError(
            f"could not append to the ledger in {self.store.url} after {ATTEMPTS} tries; too many writers at once"
        )

    def once(self, event: str, *, actor: str, concept: str, key: str, **data: Any) -> Entry:
        """Like :meth:`append`, but return the existing entry if this event is on record for the concept with ``data['key'] == key``."""
        for entry in self.entries(concept=concept, event=event):
            if entry.data.get("key") == key:
                return entry
        return self.append(event, actor=actor, concept=concept, key=key, **data)

    def head(self) -> Entry | None:
        """The newest entry, or None for an empty ledger."""
        number = 0
        for key in self.store.keys("ledger/"):
            number = max(number, int(key.removeprefix("ledger/").removesuffix(".json")))
        return self._read(number) if number else None

    def entries(self, *, concept: str | None = None, event: str | None = None) -> Iterator[Entry]:
        """Entries in order, optionally only those of a concept and an event (or its children, ``trial`` for ``trial.finished``)."""
        for key in self.store.keys("ledger/"):
            entry = Entry.from_bytes(self.store.get(key))
            wanted = event is None or entry.event == event or entry.event.startswith(event + ".")
            if wanted and (concept is None or entry.concept == concept):
                yield entry

    def verify(self) -> int:
        """Check the whole chain and return its length.

        Raises:
            VerificationError: an entry is missing, changed, reordered or not canonical.
        """
        previous, count = GENESIS, 0
        for key in self.store.keys("ledger/"):
            data = self.store.get(key)
            entry = Entry.from_bytes(data)
            count += 1
            if key != _key(count) or entry.number != count:
                raise VerificationError(
                    f"expected ledger entry {count}, got {key} with number {entry.number}; an entry was removed or moved"
                )
            if entry.previous != previous or entry.to_bytes() != data:
                raise VerificationError(
                    f"ledger entry {count} does not follow from entry {count - 1}; one of them was changed"
                )
            previous = entry.digest
        return count

    def _read(self, number: int) -> Entry:
        return Entry.from_bytes(self.store.get(_key(number)))


def _key(number: int) -> str:
    return f"ledger/{number:010d}.json"
