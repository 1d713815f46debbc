"""``seedbank bench``: what the README's numbers come from, run again on your machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seedbank.cli.output import JsonFlag, console, needs, print_json
from seedbank.errors import UsageError

if TYPE_CHECKING:
    from seedbank.evaluation.harness import BenchmarkRow

app = typer.Typer(help="Measure methods against each other on the shipped model.", no_args_is_help=True)

RARE = ("wrench", "trinut", "hook", "crank", "cross", "clover", "starknob", "wingnut", "impeller")
"""The kinds that plain seeds of the shipped model draw right in less than a quarter of cases."""
USUAL = ("plain", "balanced", "best_of_n", "seedselect_v1")


@app.command("selection")
@needs("bench")
def selection(
    kinds: Annotated[list[str] | None, typer.Argument(help="Kinds of the parts world; default the rare ones.")] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="A method; several are allowed. 'all' for every one.")
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="Plain seeds of one run.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Runs, each from other seeds.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder for the table, the rows and the plots.")] = Path(
        "benchmarks/results"
    ),
    known: Annotated[
        list[Path] | None,
        typer.Option(help="A selection.json whose runs are kept, not measured again; several are allowed."),
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="Write the --known runs as one table and measure nothing.")
    ] = False,
    same_code: Annotated[
        list[str] | None,
        typer.Option(help="A version whose --known runs are accepted: you know that no method has changed since."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: JsonFlag = False,
) -> None:
    """Methods by rare kinds, at equal network evaluations and at equal seconds, judged by an auditor that none of them knows.

    Hours for all of it on two cores: --known goes on where a run was cut off, and with --join makes one table of runs side by side.

    Example: seedbank bench selection hook crank --recipe balanced --recipe best_of_n --starts 8 --repeats 1
    """
    import torch

    from seedbank.evaluation.bench import (
        bench_selection,
        in_order,
        measuring_code,
        methods,
        read_rows,
        write_results,
    )
    from seedbank.evaluation.problems import shipped_problem
    from seedbank.evaluation.report import summarise
    from seedbank.models import load_auditor

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("expected a GPU for --device cuda, found none; leave it out to run on the CPU")
    if join and not known:
        raise UsageError("expected the runs to join, got none; name their selection.json files with --known")
    names = list(methods()) if recipe == ["all"] else list(recipe or USUAL)
    earlier = [read_rows(path, same=same_code or ()) for path in known or ()]
    had = [row for each in earlier for row in each.rows]
    codes = [code for each in earlier for code in each.codes]
    rows: list[BenchmarkRow] = in_order(had, RARE) if join else []
    paths = write_results(rows, out, torch.device(device), codes=codes) if join else []
    codes.append(measuring_code())
    auditor = load_auditor()
    auditor.network.to(device)
    for kind in () if join else kinds or RARE:  # written after each, so that a run that is cut off loses none
        problem = shipped_problem(kind, device=device)
        rows += bench_selection(
            [problem], auditor, names, starts=starts, repeats=repeats, known=had, observe=_print_row
        )
        paths = write_results(rows, out, torch.device(device), codes=codes)
    if json:
        print_json(
            [
                {"method": found.method, "budget": found.budget, "success": found.success.rate}
                for found in summarise(rows)
            ]
        )
    else:
        console().print(next(path for path in paths if path.suffix == ".md").read_text())


def _print_row(row: BenchmarkRow) -> None:
    """One line for each run, on standard error: some take minutes."""
    typer.echo(
        f"{row.concept:>10} {row.method:<18} {row.budget:<18} right {sum(row.right)} of {len(row.right)}, "
        f"accepted {sum(row.accepted)}, {row.network_evaluations} evaluations, {row.seconds:.1f} s",
        err=True,
    )
