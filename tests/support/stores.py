"""A store that counts what is read from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from seedbank.bank import Bank
from seedbank.evidence.ledger import Ledger
from seedbank.storage import LocalStore


@dataclass(frozen=True)
class CountingStore(LocalStore):
    """A local store that remembers how often each key was read."""

    reads: Counter[str] = field(default_factory=Counter)

    def get(self, key: str) -> bytes:
        self.reads[key] += 1
        return super().get(key)

    def read_twice(self, *, apart_from: tuple[str, ...] = ()) -> dict[str, int]:
        """What was read more than once; the store's own probes and keys below ``apart_from`` do not count."""
        apart = (".probe/", *apart_from)
        return {key: count for key, count in self.reads.items() if count > 1 and not key.startswith(apart)}


def counted(bank: Bank) -> tuple[Bank, CountingStore]:
    """The same bank as another process opens it, over a store that counts."""
    assert isinstance(bank.store, LocalStore)
    store = CountingStore(bank.store.root)
    return replace(bank, store=store, ledger=Ledger(store)), store
