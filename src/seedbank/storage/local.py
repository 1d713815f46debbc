"""A store in a local folder: the embedded default, and the one the tests run on."""

from __future__ import annotations

import os
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from seedbank.errors import StoreError
from seedbank.storage.base import Capabilities, check_key, probe_key

_TEMPORARY = ".tmp"
"""Folder below the root for writes that are not finished; never among the keys."""

T = TypeVar("T")


@dataclass(frozen=True)
class LocalStore:
    """Objects as files below ``root``. Writes are atomic (rename), new-only writes are exclusive (hard link)."""

    root: Path

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Open ``/folder``, ``folder`` or ``file:///folder``, creating the folder."""
        path = urllib.parse.unquote(urllib.parse.urlparse(url).path) if url.startswith("file:") else url
        root = Path(path).expanduser().absolute()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"expected a folder to keep objects in, got {root} ({error.strerror}); choose another store"
            ) from error
        return cls(root)

    @property
    def url(self) -> str:
        """``file:///folder``."""
        return self.root.as_uri()

    def path(self, key: str) -> Path:
        """Where ``key`` lies on disk."""
        return self.root / check_key(key)

    def get(self, key: str) -> bytes:
        """The bytes under ``key``; raises :class:`KeyError` when there are none."""
        try:
            return self.path(key).read_bytes()
        # A key that is another key's folder, or lies below one, is a missing key here as in S3.
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None
        except OSError as error:
            raise StoreError(f"cannot read {key} in {self.url}: {error.strerror}") from error

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, replacing what is there."""
        target = self.path(key)
        temporary = self._write_temporary(data)
        try:
            _in_folder(target, lambda: temporary.replace(target))
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StoreError(f"cannot write {key} in {self.url}: {error.strerror}") from error

    def put_new(self, key: str, data: bytes) -> bool:
        """Store ``data`` unless something is there; True if this call stored it."""
        target = self.path(key)
        temporary = self._write_temporary(data)
        try:
            # link(2) is atomic and fails with EEXIST: of many racers one wins. rename(2) would replace.
            _in_folder(target, lambda: os.link(temporary, target))
        except FileExistsError:
            return False
        except OSError as error:
            raise StoreError(f"cannot write {key} in {self.url}: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def exists(self, key: str) -> bool:
        """Whether something is stored under ``key``."""
        return self.path(key).is_file()

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with ``prefix``, ascending."""
        base = self.root / prefix.rpartition("/")[0]
        found = (
            Path(folder, name).relative_to(self.root).as_posix() for folder, _, names in os.walk(base) for name in names
        )
        # By code point: for ASCII keys the order in which S3 lists them (UTF-8 binary).
        yield from sorted(key for key in found if key.startswith(prefix) and not key.startswith(f"{_TEMPORARY}/"))

    def delete(self, key: str) -> None:
        """Remove ``key``; no error when nothing is there."""
        path = self.path(key)
        if path.is_file():
            path.unlink(missing_ok=True)

    def capabilities(self) -> Capabilities:
        """A local folder writes conditionally; it keeps no versions and locks nothing."""
        key = probe_key("conditional")
        first, second = self.put_new(key, b"1"), self.put_new(key, b"2")
        self.delete(key)
        return Capabilities(conditional_write=first and not second, versioning=False, object_lock=False)

    def _write_temporary(self, data: bytes) -> Path:
        """``data`` in a file of its own below ``root``, apart from every key: a killed write leaves nothing among the objects."""
        # Below the root, for rename and link work within one file system only.
        path = self.root / _TEMPORARY / uuid.uuid4().hex
        try:
            with _in_folder(path, lambda: path.open("xb")) as file:
                file.write(data)
                file.flush()
                # Bytes before the name: after a power cut no key may name an empty file.
                os.fsync(file.fileno())
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StoreError(
                f"cannot write below {self.root}: {error.strerror}; check space and permissions"
            ) from error
        return path


def _in_folder(path: Path, act: Callable[[], T]) -> T:
    """What ``act`` gives, which needs the folder of ``path``; the folder is made if it is not there yet."""
    # The folder is nearly always there: it costs nothing to find that out by doing.
    try:
        return act()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return act()
