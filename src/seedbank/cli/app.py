"""The command line: registers the commands and turns errors into one line and an exit code.

Exit codes: 0 yes, 1 the answer is no (a gate held), 2 used wrongly, 3 something outside failed.
"""

from __future__ import annotations

import sys

import click
import typer

from seedbank import __version__
from seedbank.errors import SeedbankError

app = typer.Typer(
    name="seedbank",
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


def _register() -> None:
    """Add every command; the modules import nothing heavy until a command runs."""


def main() -> None:
    """Run the command line and exit with its code."""
    _register()
    try:
        code = app(standalone_mode=False)
    except SeedbankError as error:
        print(f"seedbank: {error}", file=sys.stderr)
        code = error.exit_code
    except click.exceptions.Abort:
        print("seedbank: stopped", file=sys.stderr)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)
