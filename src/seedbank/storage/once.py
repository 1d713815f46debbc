"""A view of a store for one stage: what is read more than once is fetched once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from seedbank.storage.base import Capabilities, ObjectStore


@dataclass(frozen=True)
class ReadOnce:
    """``store`` as one stage sees it, which keeps in memory what it read under those keys that ``again`` says are read again.

    For objects that nobody changes meanwhile, such as everything under a digest. Writes go through, and what is kept is forgotten.
    """

    store: ObjectStore
    again: Callable[[str], bool] = lambda _key: True
    _kept: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """The store's own."""
        return self.store.url

    def get(self, key: str) -> bytes:
        """The bytes under ``key``; raises :class:`KeyError` when there are none."""
        if key in self._kept:
            return self._kept[key]
        data = self.store.get(key)
        if self.again(key):
            self._kept[key] = data
        return data

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, replacing what is there."""
        self._kept.pop(key, None)
        self.store.put(key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        """Store ``data`` unless something is there; True if this call stored it."""
        # Kept is only what was there, and where something is there this writes nothing.
        return self.store.put_new(key, data)

    def exists(self, key: str) -> bool:
        """Whether something is stored under ``key``."""
        return self.store.exists(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with ``prefix``, ascending."""
        return self.store.keys(prefix)

    def delete(self, key: str) -> None:
        """Remove ``key``; no error when nothing is there."""
        self._kept.pop(key, None)
        self.store.delete(key)

    def capabilities(self) -> Capabilities:
        """The store's own."""
        return self.store.capabilities()
