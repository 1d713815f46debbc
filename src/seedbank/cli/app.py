"""The command line: registers the commands and turns errors into one line and an exit code.

Exit codes: 0 yes, 1 the answer is no (a gate held), 2 used wrongly, 3 something outside failed.
"""

from __future__ import annotations

import sys

import typer

from seedbank import __version__
from seedbank.errors import SeedbankError
from seedbank.settings import share_cores

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
    from seedbank.cli import bench, expand, references, release, search

    app.command("intake")(references.intake)
    app.command("validate")(references.validate)
    app.command("scan")(search.scan)
    app.command("diagnose")(search.diagnose)
    app.command("optimise")(search.optimise)
    app.command("expand")(expand.expand)
    app.command("review")(release.review)
    app.command("release")(release.release)
    app.command("verify")(release.verify)
    app.command("replay")(release.replay)
    app.command("log")(release.log)
    app.command("status")(release.status)
    app.command("trace")(release.trace)
    app.command("keys")(release.keys)
    app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the command line and exit with its code."""
    share_cores()
    _register()
    try:
        app()
    except SeedbankError as error:
        print(f"seedbank: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
