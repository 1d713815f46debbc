"""What commands print: a table or a sentence for people, one JSON document for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from seedbank.bank import Bank
from seedbank.settings import Settings

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
"""The ``--json`` option every command has."""


def open_bank() -> Bank:
    """The bank that the environment names."""
    return Bank.open(Settings.from_env())


def console() -> Console:
    """Standard output, for people."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table for people; cells are shown as text."""
    made = Table(title=title, title_justify="left")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made
