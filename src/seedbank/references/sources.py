"""Sources: where photos arrive from. A folder or a bucket becomes a stream of arrivals; nothing is read before it is asked for.

Names are for people only. A photo's concept is the first folder it lies in; symbolic links, pipes and devices are never opened.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from seedbank.errors import UsageError
from seedbank.references.decode import MAX_BYTES, NotAPhoto, too_big
from seedbank.references.rights import MAX_SIDECAR_BYTES

SIDECAR_SUFFIXES = (".yaml", ".yml")
IGNORED = frozenset({"thumbs.db", "desktop.ini"})
"""What desktops leave in folders. Names that begin with a dot are ignored as well."""
MAX_NAME = 200
"""Longer names are cut; a name is never an address."""


@dataclass(frozen=True)
class Arrival:
    """One file that arrived.

    Attributes:
        concept: the folder it lies in, as found; empty when it lies in none.
        name: its name for people, printable.
        size: bytes, as listed.
        read: its bytes; raises :class:`NotAPhoto` with the reason why they cannot be had.
        sidecar: the bytes of its rights sidecar, or None when it has none.
        fault: why it must not be opened at all; empty when it may.
    """

    concept: str
    name: str
    size: int
    read: Callable[[], bytes]
    sidecar: Callable[[], bytes | None]
    fault: str = ""


class Objects(Protocol):
    """A bucket, as far as photos are taken from it: :class:`seedbank.storage.s3.Bucket` is one."""

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """All keys that start with ``prefix``, and their sizes in bytes."""

    def get(self, key: str, *, limit: int = 0) -> bytes:
        """The bytes under ``key``, at most ``limit`` of them if it is not 0; raises :class:`KeyError` when there are none."""


def open_source(source: str | Path, *, concept: str | None = None) -> Iterator[Arrival]:
    """The files of a folder or of ``s3://bucket/prefix``, folder by folder, short names first.

    Args:
        source: holds one folder for each concept, or photos of one concept.
        concept: the concept of every file; None to take it from the folders.

    Raises:
        UsageError: there is no such folder.
    """
    if str(source).startswith("s3://"):
        from seedbank.storage.s3 import Bucket

        return from_bucket(*Bucket.from_url(str(source)), concept)
    folder = Path(source)
    if not folder.is_dir():
        raise UsageError(f"expected a folder of photos or s3://bucket/prefix, got {source}; check the path")
    return _from_folder(folder, concept)


def printable(name: str) -> str:
    """``name`` without anything that could mislead a reader or a terminal: no control, format or half characters."""
    composed = unicodedata.normalize("NFC", name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    clean = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(char)[0] == "C" else char for char in composed)
    return clean if len(clean) <= MAX_NAME else f"{clean[: MAX_NAME - 1]}…"


def _from_folder(root: Path, concept: str | None) -> Iterator[Arrival]:
    for folder, names in _walk(root):
        known = frozenset(names)
        for name in names:
            if _is_sidecar(name, known) or _ignored(name):
                continue
            path = folder / name
            inside = path.relative_to(root).as_posix()
            own, _, rest = ("", "", inside) if "/" not in inside else inside.partition("/")
            yield Arrival(
                concept=own if concept is None else concept,
                name=printable(rest if concept is None else inside),
                size=path.lstat().st_size if os.path.lexists(path) else 0,
                read=lambda path=path: _read_file(path, MAX_BYTES),  # type: ignore[misc]
                sidecar=lambda path=path, known=known: _read_sidecar(path, known),  # type: ignore[misc]
                fault=_file_fault(path),
            )


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the sorted names of what is in it that is not a real folder; links are listed, not followed."""
    for folder, folders, names in os.walk(root, followlinks=False):
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in linked and not name.startswith("."))
        yield Path(folder), sorted([*names, *linked], key=_originals_first)


def _originals_first(path: str) -> tuple[str, int, str]:
    """Sorts short names first in each folder: of two equal files, ``photo.jpg`` is the photo and ``Copy of photo.jpg`` its duplicate."""
    folder, _, name = path.rpartition("/")
    return folder, len(name), name


def _is_sidecar(name: str, names: Iterable[str]) -> bool:
    return any(name.endswith(suffix) and name.removesuffix(suffix) in names for suffix in SIDECAR_SUFFIXES)


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def _file_fault(path: Path) -> str:
    try:
        status = path.lstat()
    except OSError as error:
        return f"gone: {error.strerror}"
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link: links are not followed; copy the photo itself"
    if not stat.S_ISREG(status.st_mode):
        return "not a file: pipes, sockets and devices are not opened; remove it"
    return too_big(status.st_size) if status.st_size > MAX_BYTES else ""


def _read_file(path: Path, limit: int) -> bytes:
    """At most ``limit`` + 1 bytes of a regular file that does not change meanwhile; raises :class:`NotAPhoto`."""
    try:
        # O_NOFOLLOW and O_NONBLOCK: the name may have become a link or a pipe since it was listed.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:  # noqa: PTH123
            before = os.fstat(handle)
            data = file.read(limit + 1)
            after = os.fstat(handle)
    except OSError as error:
        raise NotAPhoto(f"cannot be opened: {error.strerror}; check its permissions") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != min(
        after.st_size, limit + 1
    ):
        raise NotAPhoto("changed while it was read; run intake again when the copy has finished")
    return data


def _read_sidecar(path: Path, names: Iterable[str]) -> bytes | None:
    for suffix in SIDECAR_SUFFIXES:
        if path.name + suffix in names:
            return _read_file(path.with_name(path.name + suffix), MAX_SIDECAR_BYTES)
    return None


def from_bucket(bucket: Objects, prefix: str, concept: str | None) -> Iterator[Arrival]:
    """The objects under ``prefix``, which is empty or ends in a slash."""
    sizes = dict(bucket.list(prefix))
    for key in sorted(sizes, key=_originals_first):
        if key.endswith("/") or _is_sidecar(key, sizes) or _ignored(PurePosixPath(key).name):
            continue
        inside = key.removeprefix(prefix)
        own, _, rest = ("", "", inside) if "/" not in inside else inside.partition("/")
        beside = next((key + suffix for suffix in SIDECAR_SUFFIXES if key + suffix in sizes), None)
        yield Arrival(
            concept=own if concept is None else concept,
            name=printable(rest if concept is None else inside),
            size=sizes[key],
            read=lambda key=key: _read_object(bucket, key, MAX_BYTES + 1),  # type: ignore[misc]
            sidecar=lambda beside=beside: beside and _read_object(bucket, beside, MAX_SIDECAR_BYTES + 1),  # type: ignore[misc]
            fault=_key_fault(key, sizes[key]),
        )


def _key_fault(key: str, size: int) -> str:
    if {"", ".", ".."} & set(key.split("/")):
        return "a key that climbs: '.', '..' and empty parts are not followed; upload it under a plain name"
    return too_big(size) if size > MAX_BYTES else ""


def _read_object(bucket: Objects, key: str, limit: int) -> bytes:
    try:
        return bucket.get(key, limit=limit)
    except KeyError:
        raise NotAPhoto("gone: it was removed from the bucket while intake ran") from None
