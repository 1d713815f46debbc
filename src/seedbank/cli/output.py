"""What commands print: a table or a sentence for people, one JSON document for machines. Rich is imported when something needs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from seedbank.bank import Bank
from seedbank.errors import UsageError
from seedbank.extras import Extra, require
from seedbank.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from seedbank.models.card import ModelCard

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
"""The ``--json`` option every command has."""


P = ParamSpec("P")
T = TypeVar("T")


def needs(extra: Extra) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A command that says at once which extra it needs, where that is not installed."""

    def decorate(command: Callable[P, T]) -> Callable[P, T]:
        @wraps(command)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            require(extra)
            return command(*args, **kwargs)

        return checked

    return decorate


def open_bank() -> Bank:
    """The bank that the environment names."""
    return Bank.open(Settings.from_env())


def known_place(bank: Bank, concept: str, model: ModelCard) -> str | None:
    """Where the pipeline of a record lies, as the concept's model profile says, for one in a local folder: records do not say that."""
    from seedbank.models.card import FOLDER

    if model.source != FOLDER:
        return None
    try:
        return bank.profile(bank.concept(concept).model).pipeline
    except UsageError:  # a concept or profile that is no longer there says nothing; the caller then asks for the place
        return None


def console() -> Console:
    """Standard output, for people."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


@contextmanager
def waiting(words: str) -> Iterator[Callable[[str], None]]:
    """A line on standard error that says what is going on; call what is yielded to change it."""
    from rich.console import Console

    with Console(stderr=True).status(words) as status:
        yield status.update


def visible(text: str, *, lines: bool = False) -> str:
    """``text`` with control and format characters escaped, so that what others wrote can neither begin a line nor colour one.

    ``lines`` lets line ends through, for texts that have several.
    """
    return "".join(char if char.isprintable() or (lines and char == "\n") else ascii(char)[1:-1] for char in text)


def duration(seconds: float) -> str:
    """Seconds for people, in two figures at most: ``40 s``, ``4 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes if minutes < 60 else round(minutes / 5) * 5, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table for people; cells are shown as text."""
    from rich.table import Table

    made = Table(title=title, title_justify="left")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made
