"""Rights tables: one ``rights.csv`` for a batch, as a spreadsheet saves it.

One row for each photo, in the folder of the table or below. A photo's own sidecar beats its row; the nearest table beats one further up::

    file,licence,source,cleared_by,cleared_on,expires,purpose,identifiable_people,consent,people_checked_by
    wingnut-01.jpg,CC-BY-4.0,own workshop,dora,2026-11-01,,synthetic-release,no,,

Columns may stand in any order, and those that are not needed may be missing. Commas, semicolons or tabs; UTF-8 with or without a byte order
mark, or the UTF-16 that Excel calls "Unicode text". Several purposes stand in one cell with ``|`` between them.
"""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from seedbank.references.records import Rights
from seedbank.references.rights import NoRights

NAME = "rights.csv"
MAX_TABLE_BYTES = 32 * 2**20
"""100,000 rows of 300 characters; anything longer belongs into several batches."""
FILE = "file"
COLUMNS = (FILE, *Rights.model_fields)
NEEDED = (FILE, *(name for name, field in Rights.model_fields.items() if field.is_required()))
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class RightsRow:
    """One photo's rights as they stand in the table: its path below the table's folder, composed (NFC), and its filled cells."""

    line: int
    file: str
    values: dict[str, Any]


def read_table(data: bytes) -> Iterator[RightsRow]:
    """The rows of a table, in order; empty ones are passed over. Nothing is known about the table's end before it is read.

    Raises:
        NoRights: this is no such table; the message says what is wrong and in which line.
    """
    if len(data) > MAX_TABLE_BYTES:
        raise _unusable(f"it has {len(data):,} bytes, at most {MAX_TABLE_BYTES:,} are read; make several batches")
    # newline="": the csv module needs line ends as they are, for a quoted cell may hold some.
    text = io.TextIOWrapper(io.BytesIO(data), encoding=_encoding(data), newline="")  # decoded as it is read
    try:
        first = text.readline()
        # The header holds names of columns only, so what it has most of separates them.
        delimiter = max(DELIMITERS, key=first.count)
        lines = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
        columns = _columns(next(lines, []))
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield _row(lines.line_num, columns, cells)
    except csv.Error as error:
        raise _unusable(f"line {lines.line_num} cannot be read ({error}); save it as CSV again") from error
    except UnicodeDecodeError as error:
        raise _unusable("it is not UTF-8; save it as 'CSV UTF-8'") from error


def _encoding(data: bytes) -> str:
    return "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _columns(cells: list[str]) -> list[str]:
    columns = [cell.strip().lower().replace(" ", "_") for cell in cells]
    while columns and not columns[-1]:
        columns.pop()
    missing = [name for name in NEEDED if name not in columns]
    unknown = [repr(name) for name in columns if name not in COLUMNS]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    faults = [
        f"{words} {', '.join(names)}"
        for words, names in (("missing columns:", missing), ("unknown columns:", unknown), ("columns twice:", twice))
        if names
    ]
    if faults:
        raise _unusable(f"{'; '.join(faults)}; its first line must name the columns, of {', '.join(COLUMNS)}")
    return columns


def _row(line: int, columns: list[str], cells: list[str]) -> RightsRow:
    if any(cell.strip() for cell in cells[len(columns) :]):
        raise _unusable(
            f"line {line} has {len(cells)} cells for {len(columns)} columns; put a cell that holds a separator in quotes"
        )
    filled = {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if cell.strip()}
    file = unicodedata.normalize("NFC", filled.pop(FILE, "")).replace("\\", "/").removeprefix("./")
    if not file:
        raise _unusable(f"line {line} names no file")
    values: dict[str, Any] = dict(filled)
    if "purpose" in filled:
        values["purpose"] = [purpose.strip() for purpose in filled["purpose"].split("|") if purpose.strip()]
    return RightsRow(line, file, values)


def _unusable(fault: str) -> NoRights:
    return NoRights(f"no rights on record: {NAME} cannot be used: {fault}")
