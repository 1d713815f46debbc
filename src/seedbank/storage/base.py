"""What every object store must do, whatever it is made of."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from seedbank.errors import UsageError

_KEY = re.compile(r"[A-Za-z0-9._=+@-]+(/[A-Za-z0-9._=+@-]+)*")
MAX_KEY_BYTES = 900
"""S3 allows 1024; the rest is left for a prefix."""


def check_key(key: str) -> str:
    """Return ``key`` if it is a plain relative POSIX path of letters, digits and ``._=+@-``.

    Raises:
        UsageError: absolute, empty, too long, with ``..`` or with characters that stores and shells disagree on.
    """
    parts = key.split("/")
    # The pattern lets only ASCII through, so characters are bytes.
    if not _KEY.fullmatch(key) or any(part in {".", ".."} for part in parts) or len(key) > MAX_KEY_BYTES:
        raise UsageError(
            f"expected an object key like 'trials/wingnut/1.json', got {key!r}; derive keys from names and digests"
        )
    return key


def probe_key(kind: str) -> str:
    """A key that no other probe uses, now or ever: probes that meet would each see what the other did."""
    return f".probe/{kind}-{uuid.uuid4().hex}"


@dataclass(frozen=True)
class Capabilities:
    """What a store was seen to do when it was probed."""

    conditional_write: bool
    """A second writer of the same new key is refused."""
    versioning: bool
    """Overwritten bytes can still be read."""
    object_lock: bool
    """A locked object really cannot be deleted before its time."""


class ObjectStore(Protocol):
    """Bytes under keys. Every method raises :class:`~seedbank.errors.StoreError` when the store fails."""

    @property
    def url(self) -> str:
        """Where this store is, without credentials."""

    def get(self, key: str) -> bytes:
        """The bytes under ``key``; raises :class:`KeyError` when there are none."""

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, whole or not at all; replaces what is there."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Store ``data`` only if nothing is there. True if this call stored it; exactly one of many racers gets True."""

    def exists(self, key: str) -> bool:
        """Whether something is stored under ``key``."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with ``prefix``, in ascending order."""

    def delete(self, key: str) -> None:
        """Remove ``key``; no error when nothing is there."""

    def capabilities(self) -> Capabilities:
        """Probe the store (writes and removes a few objects under ``.probe/``)."""
