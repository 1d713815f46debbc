"""Sources: where photos arrive from. A folder or a bucket is listed and read; nothing else is asked of it.

Keys are paths below the source with ``/`` between folders. Symbolic links, pipes and devices are listed, so that somebody learns of them,
and never opened.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from seedbank.errors import UsageError
from seedbank.references.intake.decode import MAX_BYTES, NotNow, too_big

IGNORED = frozenset({"thumbs.db", "desktop.ini"})
"""What desktops leave in folders. Names that begin with a dot are ignored as well."""
MAX_NAME = 200
"""Longer names are cut; a name is never an address."""


class File(NamedTuple):
    """A file as a source lists it.

    Attributes:
        key: its path below the source.
        size: bytes.
        mark: changes whenever its bytes do.
        fault: why it must not be opened at all; empty when it may.
    """

    key: str
    size: int
    mark: str
    fault: str = ""


class Source(Protocol):
    """Files that can be listed and read."""

    @property
    def url(self) -> str:
        """Where this is, without credentials."""

    def list(self) -> Iterator[File]:
        """Every file, in no particular order, without what desktops leave behind."""

    def read(self, key: str, limit: int) -> bytes:
        """At most ``limit`` + 1 bytes of a file; raises :class:`NotNow` with the reason why they cannot be had."""


class Objects(Protocol):
    """A bucket, as far as photos are taken from it: :class:`seedbank.storage.s3.Bucket` is one."""

    @property
    def name(self) -> str:
        """The bucket's name."""

    def list(self, prefix: str = "") -> Iterable[tuple[str, int, str]]:
        """Key, size in bytes and entity tag of all objects whose key starts with ``prefix``."""

    def get(self, key: str, *, limit: int = 0) -> bytes:
        """The bytes under ``key``, at most ``limit`` of them if it is not 0; raises :class:`KeyError` when there are none."""


def open_source(source: str | Path, *, s3: Mapping[str, str] | None = None) -> Source:
    """The folder or ``s3://bucket/prefix`` called ``source``; ``s3`` says how to reach it, None for the environment.

    Raises:
        UsageError: there is no such folder.
    """
    if str(source).startswith("s3://"):
        from seedbank.storage.s3 import Bucket

        return BucketSource(*Bucket.from_url(str(source), s3))
    folder = Path(source)
    if not folder.is_dir():
        raise UsageError(f"expected a folder of photos or s3://bucket/prefix, got {source}; check the path")
    return FolderSource(folder.absolute())


def plain(name: str) -> str:
    """``name`` composed (NFC) and without anything that could mislead a reader or a terminal: no control, format or half characters."""
    composed = unicodedata.normalize("NFC", name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(char)[0] == "C" else char for char in composed)


def printable(name: str) -> str:
    """:func:`plain`, and short enough to be shown and recorded."""
    clean = plain(name)
    return clean if len(clean) <= MAX_NAME else f"{clean[: MAX_NAME - 1]}…"


@dataclass(frozen=True)
class FolderSource:
    """A local folder and everything below it."""

    root: Path

    @property
    def url(self) -> str:
        """``file:///folder``."""
        return self.root.as_uri()

    def list(self) -> Iterator[File]:
        """Every file; links are listed, not followed."""
        folders = [self.root]
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if _ignored(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        yield self._file(entry)

    def read(self, key: str, limit: int) -> bytes:
        """At most ``limit`` + 1 bytes of a regular file that does not change meanwhile."""
        try:
            # O_NOFOLLOW and O_NONBLOCK: the name may have become a link or a pipe since it was listed.
            handle = os.open(self.root / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb") as file:  # noqa: PTH123
                before = os.fstat(handle)
                data = file.read(limit + 1)
                after = os.fstat(handle)
        except OSError as error:
            raise NotNow(f"cannot be opened: {error.strerror}; check its permissions") from error
        # A copy under way grows, or is written to, between the two looks.
        changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
        if changed or len(data) != min(after.st_size, limit + 1):
            raise NotNow("changed while it was read; run intake again when the copy has finished")
        return data

    def _file(self, entry: os.DirEntry[str]) -> File:
        key = os.path.relpath(entry.path, self.root)
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            return File(key, 0, "", f"gone: {error.strerror}")
        # ctime too: tools set mtime back (`cp -p`), and nobody can set ctime.
        mark = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
        return File(key, status.st_size, mark, _fault(status))


def _fault(status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link: links are not followed; copy the photo itself"
    if not stat.S_ISREG(status.st_mode):
        return "not a file: pipes, sockets and devices are not opened; remove it"
    return too_big(status.st_size) if status.st_size > MAX_BYTES else ""


@dataclass(frozen=True)
class BucketSource:
    """The objects of a bucket under ``prefix``, which is empty or ends in a slash."""

    bucket: Objects
    prefix: str

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self.bucket.name}/{self.prefix}"

    def list(self) -> Iterator[File]:
        """Every object; keys that end in a slash stand for folders and are none."""
        for key, size, mark in self.bucket.list(self.prefix):
            if not key.endswith("/") and not _ignored(key.rpartition("/")[2]):
                inside = key.removeprefix(self.prefix)
                yield File(inside, size, mark, _key_fault(inside, size))

    def read(self, key: str, limit: int) -> bytes:
        """At most ``limit`` + 1 bytes of an object."""
        try:
            return self.bucket.get(self.prefix + key, limit=limit + 1)
        except KeyError:
            raise NotNow("gone: it was removed from the bucket while intake ran") from None


def _key_fault(key: str, size: int) -> str:
    if {"", ".", ".."} & set(key.split("/")):
        return "a key that climbs: '.', '..' and empty parts are not followed; upload it under a plain name"
    return too_big(size) if size > MAX_BYTES else ""


def _ignored(name: str) -> bool:
    # ".." is no hidden file but a key of a bucket that climbs, which somebody has to hear of.
    return (name.startswith(".") and name not in {".", ".."}) or name.lower() in IGNORED
