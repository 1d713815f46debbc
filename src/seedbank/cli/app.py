"""The command line: which command lives where, and errors turned into one line and an exit code.

Exit codes: 0 yes, 1 the answer is no (a gate held), 2 used wrongly, 3 something outside failed.

A command's module is imported when the command runs or its help is asked for, and imports nothing heavy itself, so that ``--version`` and
``verify`` cost no more than what they do.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from seedbank import __version__
from seedbank.errors import SeedbankError
from seedbank.extras import missing_extra
from seedbank.settings import share_cores

COMMANDS = {
    "models": "models",
    "intake": "references",
    "validate": "references",
    "scan": "search",
    "diagnose": "search",
    "optimise": "search",
    "expand": "expand",
    "export": "export",
    "review": "release",
    "release": "release",
    "verify": "release",
    "replay": "release",
    "log": "release",
    "status": "release",
    "trace": "release",
    "keys": "release",
    "bench": "bench",
}
"""The module of this package that holds each command, in the order of the story."""


class _Commands(Mapping[str, Any]):
    """The commands by name, each made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        module = import_module(f"seedbank.cli.{COMMANDS[name]}")
        if hasattr(module, "app"):  # a command with commands of its own
            group = get_group(module.app)
            group.name = name
            return group
        return get_command(_single(name, getattr(module, name)))

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    """A group that knows the names of its commands and imports them late."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: Any = _Commands()

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, without importing any."""
        return list(COMMANDS)


app = typer.Typer(
    name="seedbank",
    cls=_Group,
    help="Find, prove and release the seeds that make an unchanged diffusion model draw a rare concept.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True)) -> None:
    """Find, prove and release the seeds that make an unchanged diffusion model draw a rare concept."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line and exit with its code."""
    share_cores()
    try:
        with _warnings_shown():
            app()
    except SeedbankError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        if (needed := missing_extra(error)) is None:
            raise
        _fail(needed)


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from seedbank.cli.output import visible

        print(visible(record.getMessage()), file=sys.stderr)


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """What a stage warns of stands on standard error, one line each, whatever a library has made of logging."""
    log, handler = logging.getLogger("seedbank"), _OneLine(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _single(name: str, function: Any) -> typer.Typer:
    """An app of one command."""
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    made.command(name)(function)
    return made


def _fail(error: SeedbankError) -> None:
    from seedbank.cli.output import visible

    print(f"seedbank: {visible(str(error), lines=True)}", file=sys.stderr)
    sys.exit(error.exit_code)
