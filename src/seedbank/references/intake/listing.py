"""The listing: all files of a source sorted on disk, each with its rights and with what an earlier scan made of it.

A temporary SQLite database holds the keys, so that a million files take no more memory than ten. Arrivals come folder by folder, short
names first: of two equal files, ``photo.jpg`` is then the photo and ``Copy of photo.jpg`` its duplicate.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, cast

from seedbank.records import sha256
from seedbank.references.intake.decode import MAX_BYTES, NotAPhoto, NotNow
from seedbank.references.intake.outcomes import OutcomeKind
from seedbank.references.intake.sources import File, Source, plain, printable
from seedbank.references.intake.tables import MAX_TABLE_BYTES, NAME, read_table
from seedbank.references.records import Rights
from seedbank.references.rights import MAX_SIDECAR_BYTES, NoRights, parse_sidecar, rights_from

SIDECAR_SUFFIXES = (".yaml", ".yml")
MAX_NOTES = 1000
"""How many rows without a photo are named."""
TWIN = "a name twin: it looks the same as another file of this folder, and their rights could be mixed up; rename one of them"
_SCHEMA = """
CREATE TABLE files (key BLOB PRIMARY KEY, folder BLOB, length INT, plain TEXT, size INT, mark TEXT, fault TEXT, sidecar_of BLOB);
CREATE TABLE tables (folder TEXT PRIMARY KEY, key BLOB, fault TEXT);
CREATE TABLE cells (plain TEXT PRIMARY KEY, folder TEXT, line INT, cells TEXT, twice INT);
CREATE TABLE known (key BLOB PRIMARY KEY, mark TEXT, kind TEXT, digest TEXT, reason TEXT, rules INT);
"""
_INDEXES = """
CREATE INDEX by_order ON files (folder, length, key);
CREATE INDEX by_plain ON files (plain, key);
CREATE INDEX by_photo ON files (sidecar_of, key) WHERE sidecar_of IS NOT NULL;
"""
_ARRIVALS = """
SELECT f.key, f.plain, f.size, f.mark, f.fault, s.key, s.mark, c.folder, c.line, c.cells, c.twice,
       (SELECT key FROM files t WHERE t.plain = f.plain ORDER BY key LIMIT 1) <> f.key,
       k.mark, k.kind, k.digest, k.reason, k.rules
FROM files f
LEFT JOIN files s ON s.key = (SELECT key FROM files x WHERE x.sidecar_of = f.key ORDER BY key LIMIT 1)
LEFT JOIN cells c ON c.plain = f.plain
LEFT JOIN known k ON k.key = f.key
WHERE NOT EXISTS (SELECT 1 FROM files o WHERE o.key = f.sidecar_of)
  AND NOT EXISTS (SELECT 1 FROM tables g WHERE g.key = f.key AND g.fault = '')
ORDER BY f.folder, f.length, f.key
"""
_ROWS_WITHOUT_PHOTO = """
SELECT folder, line, plain FROM cells c WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.plain = c.plain) ORDER BY folder, line
"""


RememberedKind = OutcomeKind | Literal["unsorted"]
"""``unsorted``: set aside because its folder named no concept at that time."""


class Remembered(NamedTuple):
    """What an earlier scan made of a file, under the rules of that time."""

    key: str
    mark: str
    kind: RememberedKind
    digest: str
    reason: str
    rules: int


@dataclass(frozen=True)
class Arrival:
    """One file that arrived.

    Attributes:
        key: its path below the source, as found.
        concept: the folder it lies in, as found; empty when it lies in none.
        name: its name for people, printable.
        size: bytes, as listed.
        mark: changes whenever its bytes or its rights do.
        read: its bytes; raises :class:`NotAPhoto` with the reason why they cannot be had.
        rights: its rights, or None when nothing is on record; raises :class:`NoRights` when they are not complete.
        missing: why there are no rights, for people.
        fault: why it must not be opened at all; empty when it may.
        before: what an earlier scan made of exactly this file with exactly these rights.
    """

    key: str
    concept: str
    name: str
    size: int
    mark: str
    read: Callable[[], bytes]
    rights: Callable[[], Rights | None]
    missing: str
    fault: str = ""
    before: Remembered | None = None


class Listing:
    """The files of ``source``. Use it as a context manager, from one thread.

    Args:
        source: what to list.
        concept: the concept of every file; None to take it from the folders.
    """

    def __init__(self, source: Source, concept: str | None = None) -> None:
        self._source, self._concept = source, concept
        self._database = sqlite3.connect("")  # a private file of its own, gone when closed
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        self._database.executemany(
            "INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?)", map(_row, self._source.list())
        )
        # After the rows: one sort, not an insertion for each.
        self._database.executescript(_INDEXES)
        for key, at in self._tables():
            self._read_table(key, at)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def remember(self, files: Iterable[Remembered]) -> None:
        """Take over what earlier scans found; later ones count."""
        rows = ((_bytes(item.key), *item[1:]) for item in files)
        self._database.executemany("INSERT OR REPLACE INTO known VALUES (?,?,?,?,?,?)", rows)

    def remembered(self) -> Iterator[Remembered]:
        """What was taken over about files that are still there."""
        for key, *rest in self._database.execute("SELECT known.* FROM known JOIN files USING (key) ORDER BY key"):
            yield Remembered(_text(key), *rest)

    def notes(self) -> tuple[str, ...]:
        """What is wrong with rights tables as a whole, a line each: rows that have no photo."""
        found = self._database.execute(_ROWS_WITHOUT_PHOTO).fetchmany(MAX_NOTES)
        return tuple(
            f"{_table_name(folder)}, line {line}: there is no photo {printable(name.removeprefix(f'{folder}/'))!r} in this batch; "
            "check its name, or hand it in"
            for folder, line, name in found
        )

    def __iter__(self) -> Iterator[Arrival]:
        for row in self._database.execute(_ARRIVALS):
            yield self._arrival(_Joined(*row))

    def _arrival(self, row: _Joined) -> Arrival:
        key = _text(row.key)
        own, _, rest = ("", "", key) if "/" not in key else key.partition("/")
        table = self._nearest_table(row.plain)
        parts = [row.mark, row.sidecar_mark or "", row.cells or "", str(row.twice), table.path, table.fault]
        # Rights are part of the mark: a new sidecar or row makes an old file news.
        mark = sha256("\n".join(parts).encode())
        known = self._known(row, key) if row.known_mark == mark else None
        return Arrival(
            key=key,
            concept=own if self._concept is None else self._concept,
            name=printable(rest if self._concept is None else key),
            size=row.size,
            mark=mark,
            read=lambda: self._source.read(key, MAX_BYTES),
            rights=lambda: self._rights(row, table.fault),
            missing=f"there is no sidecar, and {_table_name(table.path)} has no row for it"
            if table.path
            else "there is no sidecar",
            fault=row.fault or self._table_fault(row.key) or (TWIN if row.twin else ""),
            before=known,
        )

    def _known(self, row: _Joined, key: str) -> Remembered:
        return Remembered(
            key=key,
            mark=str(row.known_mark),
            kind=cast(RememberedKind, row.kind),
            digest=str(row.digest),
            reason=str(row.reason),
            rules=int(row.rules or 0),
        )

    def _rights(self, row: _Joined, table_fault: str) -> Rights | None:
        # The sidecar, then the row; a broken table stops only photos that have no sidecar.
        if row.sidecar:
            return parse_sidecar(self._sidecar(_text(row.sidecar)))
        if row.cells is None:
            if table_fault:
                raise NoRights(table_fault)
            return None
        where = f"its row in {_table_name(str(row.table))} (line {row.line})"
        if row.twice:
            raise NoRights(
                f"no rights on record: {_table_name(str(row.table))} has two rows for it (lines {row.line} and {row.twice}); "
                "whoever wrote it must remove one"
            )
        return rights_from(json.loads(row.cells), where)

    def _sidecar(self, key: str) -> bytes:
        try:
            return self._source.read(key, MAX_SIDECAR_BYTES)
        except NotNow as error:
            raise NotNow(f"its sidecar {error}") from error

    def _tables(self) -> list[tuple[bytes, str]]:
        # Longest first: of two tables above one photo that is the nearer.
        found = self._database.execute("SELECT key, plain FROM files WHERE fault = '' ORDER BY length(key) DESC")
        return [(key, at) for key, at in found if at.rpartition("/")[2].lower() == NAME]

    def _read_table(self, key: bytes, at: str) -> None:
        """Take over a table's rows; of two tables that name a photo the nearer one counts, and it was read first."""
        folder, fault = at.rpartition("/")[0], ""
        # A table counts whole or not at all: a fault in its last line takes the rows before it back.
        self._database.execute("SAVEPOINT reading")
        try:
            for row in read_table(self._source.read(_text(key), MAX_TABLE_BYTES)):
                name = plain(f"{folder}/{row.file}" if folder else row.file)
                values = (name, folder, row.line, json.dumps(row.values, sort_keys=True), 0)
                # Twice in one table is a fault to report; of two tables the row that is there stands.
                self._database.execute(
                    "INSERT INTO cells VALUES (?,?,?,?,?) ON CONFLICT (plain) DO UPDATE SET twice = excluded.line "
                    "WHERE folder = excluded.folder",
                    values,
                )
        except (NoRights, NotAPhoto) as error:
            self._database.execute("ROLLBACK TO reading")
            fault = str(error)
        self._database.execute("RELEASE reading")
        self._database.execute("INSERT OR REPLACE INTO tables VALUES (?,?,?)", (folder, key, fault))

    def _nearest_table(self, path: str) -> _Table:
        """The nearest table above ``path``."""
        folder = path
        while folder:
            folder = folder.rpartition("/")[0]
            found = self._database.execute("SELECT key, fault FROM tables WHERE folder = ?", (folder,)).fetchone()
            if found:
                return _Table(plain(_text(found[0])), str(found[1]))
        return _Table()

    def _table_fault(self, key: bytes) -> str:
        found = self._database.execute("SELECT fault FROM tables WHERE key = ?", (key,)).fetchone()
        return str(found[0]) if found else ""


@dataclass(frozen=True)
class _Table:
    """A rights table: its path, empty when there is none, and what is wrong with it."""

    path: str = ""
    fault: str = ""


class _Joined(NamedTuple):
    """A row of ``_ARRIVALS``."""

    key: bytes
    plain: str
    size: int
    mark: str
    fault: str
    sidecar: bytes | None
    sidecar_mark: str | None
    table: str | None
    line: int | None
    cells: str | None
    twice: int | None
    twin: int
    known_mark: str | None
    kind: str | None
    digest: str | None
    reason: str | None
    rules: int | None


def _row(file: File) -> tuple[Any, ...]:
    key = _bytes(file.key)
    folder, _, name = file.key.rpartition("/")
    photo = next((key[: -len(end)] for end in SIDECAR_SUFFIXES if file.key.endswith(end) and name != end), None)
    return key, _bytes(folder), len(name), plain(file.key), file.size, file.mark, file.fault, photo


def _table_name(folder: str) -> str:
    return printable(folder if folder.endswith(NAME) else f"{folder}/{NAME}" if folder else NAME)


def _bytes(key: str) -> bytes:
    # File names are bytes: those that are no UTF-8 go in and come out as they were.
    return key.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
