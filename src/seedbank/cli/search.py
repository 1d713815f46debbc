"""``seedbank scan``, ``diagnose`` and ``optimise``: does the model need help, can seeds give it, and the search itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seedbank.cli.output import JsonFlag, console, duration, needs, open_bank, print_json, table
from seedbank.errors import RefusedError, Unreachable, UsageError

if TYPE_CHECKING:
    from PIL import Image

    from seedbank.bank import Bank
    from seedbank.concepts import Concept
    from seedbank.trials.observe import Foretell, Report
    from seedbank.trials.pace import Forecast
    from seedbank.trials.records import Trial
    from seedbank.trials.scan import Scan

STAGES = {
    "load": "loading models",
    "explore": "plain seeds",
    "calibrate": "gradient mode",
    "optimise": "gradient steps",
    "draw": "final pictures",
    "expand": "accepted images",
}
SeedCount = Annotated[int, typer.Option("--seeds", "-n", min=1, help="How many plain seeds to draw.")]


@needs("selection")
def optimise(
    concept: Annotated[str, typer.Argument(help="Name of a concept file.")],
    preset: Annotated[
        str | None, typer.Option(help="fast, balanced, thorough or seedselect_v1; default the concept's own.")
    ] = None,
    requested_by: Annotated[
        str | None, typer.Option(help="Id of who else asks for it, beside you; none of you may review it.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Search for seeds that make the model draw CONCEPT, guided by its latest reference set.

    Says first how long it will take. Interrupted, it goes on where it was; asked again, it shows what it found.

    Example: seedbank optimise wingnut --preset balanced
    """
    from seedbank.references.records import ReferenceSet
    from seedbank.trials.run import run_trial

    bank = open_bank()
    asked = _with_preset(bank.concept(concept), preset)
    askers = [asked.owner, *([requested_by] if requested_by else [])]
    references = bank.newest(ReferenceSet, concept)
    with whole_bar() as (report, foretell):
        trial = run_trial(bank, asked, references, requested_by=askers, progress=report, forecast=foretell)
    if json:
        print_json(trial.model_dump(mode="json"))
    else:
        _print_trial(trial)
    if not any(candidate.accepted for candidate in trial.candidates):
        raise RefusedError(
            f"the guard accepted none of {len(trial.candidates)} candidates of {concept!r}; "
            "add reference photos, raise policy.selection.candidates, or see `seedbank diagnose`"
        )


@needs("selection")
def scan(
    concepts: Annotated[list[str] | None, typer.Argument(help="Names of concepts; default all.")] = None,
    seeds: SeedCount = 64,
    json: JsonFlag = False,
) -> None:
    """Draw plain seeds of each concept and tell how often they are right: which concepts does the model fail on?

    Judged by the guard where there is a reference set, and by the auditor where it knows the concept.

    Example: seedbank scan wingnut impeller
    """
    bank = open_bank()
    names = concepts or sorted(bank.concepts())
    scans = [_scan(bank, bank.concept(name), seeds) for name in names]
    if json:
        print_json([asdict(found) for found in scans])
    else:
        _print_scans(scans)


@needs("selection")
def diagnose(
    concept: Annotated[str, typer.Argument(help="Name of a concept with a reference set.")],
    seeds: SeedCount = 128,
    json: JsonFlag = False,
) -> None:
    """Say whether more plain seeds are enough for CONCEPT, whether to optimise, or whether no seed of the model draws it; and why.

    With fewer than 128 seeds it takes more to say no.

    Example: seedbank diagnose wingnut
    """
    from seedbank.references.records import ReferenceSet
    from seedbank.trials.run import ADVICE

    bank = open_bank()
    asked = bank.concept(concept)
    bank.newest(ReferenceSet, concept)  # says what to do when there is none
    found = _scan(bank, asked, seeds)
    if json:
        print_json(asdict(found))
    else:
        _print_scans([found])
    diagnosis = found.diagnosis
    if not diagnosis:
        return
    if diagnosis.recommendation == "unreachable":
        raise Unreachable(f"{concept}: {diagnosis.summary}; {ADVICE}")
    if not json:
        console().print(f"{concept}: {diagnosis.summary}.")
        console().print(
            f"Fine-tuning a LoRA once costs as much as {diagnosis.break_even:.1f} images found this way, and changes the model."
        )


def _with_preset(concept: Concept, preset: str | None) -> Concept:
    from seedbank.selection.search.recipes import PRESETS

    if preset is None:
        return concept
    if preset not in PRESETS:
        raise UsageError(f"expected --preset {' or '.join(PRESETS)}, got {preset!r}")
    return concept.model_copy(update={"preset": preset})


def _scan(bank: Bank, concept: Concept, seeds: int) -> Scan:
    from seedbank.models.device import at_work
    from seedbank.trials.scan import scan_concept

    with bars() as report, at_work(bank.settings, "nothing of the scan is kept, it begins again") as device:
        return scan_concept(
            concept,
            bank.profile(concept.model),
            _photos(bank, concept.name),
            seeds=seeds,
            device=device,
            progress=lambda done, total: report(concept.name, done, total),
        )


def _photos(bank: Bank, concept: str) -> list[Image.Image]:
    """The photos of the latest reference set; none where there is no set yet."""
    from seedbank.references.photos import reference_images
    from seedbank.references.records import ReferenceSet

    try:
        return reference_images(bank, bank.newest(ReferenceSet, concept))
    except (RefusedError, UsageError):
        return []


@contextmanager
def bars() -> Iterator[Report]:
    """One bar for each stage, on standard error so that standard output stays for the answer."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:>15}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(STAGES.get(stage, stage), total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


@contextmanager
def whole_bar() -> Iterator[tuple[Report, Foretell]]:
    """One bar for a whole trial, with the stage and the time that is left; the estimate stands above it. On standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description:>15}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), _time_left())
    with Progress(*columns, console=Console(stderr=True, soft_wrap=True)) as bar:
        task = bar.add_task(STAGES["load"], total=1.0, forecast=None, at=0.0)

        def report(stage: str, _done: int, _total: int) -> None:
            bar.update(task, description=STAGES.get(stage, stage))

        def foretell(forecast: Forecast) -> None:
            if bar.tasks[0].fields["forecast"] is None:
                bar.console.print(estimated(forecast))
            stage = STAGES[forecast.stage]
            bar.update(task, description=stage, completed=forecast.share, forecast=forecast, at=time.monotonic())

        yield report, foretell
        bar.update(task, completed=1.0, forecast=None)


def estimated(forecast: Forecast) -> str:
    """What a search will take, in a sentence."""
    rest = forecast.rest
    work = (
        f"{rest.images:.0f} images, {rest.gradients:.0f} of them with a gradient: about {rest.network_evaluations:.0f} network "
        f"evaluations, at most {rest.most_network_evaluations}"
    )
    if forecast.left is None or forecast.most is None:
        return f"to do: {work}; how long that takes is known after the first batch"
    return f"about {duration(forecast.left)}, at most {duration(forecast.most)} ({work})"


def _time_left() -> Any:
    """A column with the time that is left, which runs between two forecasts."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class TimeLeft(ProgressColumn):
        def render(self, task: Task) -> Text:
            forecast: Forecast | None = task.fields["forecast"]
            if forecast is None or forecast.left is None:
                return Text("")
            left = max(forecast.left - (time.monotonic() - task.fields["at"]), 1.0)
            return Text(f"about {duration(left)} left")

    return TimeLeft()


def _print_trial(trial: Trial) -> None:
    rows = [
        (
            candidate.seed[:12],
            "yes" if candidate.accepted else "no",
            f"{candidate.scores.guard:.3f}",
            f"{candidate.scores.semantic:.3f}",
            f"{candidate.scores.cosine_to_start:.2f}",
            candidate.explanation,
        )
        for candidate in trial.candidates
    ]
    out = console()
    out.print(
        table(f"{trial.concept}: trial {trial.key[:12]}", ("seed", "accepted", "guard", "loss", "cosine", "why"), rows)
    )
    accepted = sum(candidate.accepted for candidate in trial.candidates)
    out.print(
        f"{accepted} of {len(trial.candidates)} accepted; plain pool of {trial.pool.size}: best {trial.pool.guard_max:.3f}, "
        f"mean {trial.pool.guard_mean:.3f}; {trial.cost.network_evaluations} network evaluations"
    )


def _print_scans(scans: list[Scan]) -> None:
    rows = [
        (
            found.concept,
            found.seeds,
            f"{found.diagnosis.accepted / found.seeds:.0%}" if found.diagnosis else "no reference set",
            f"{found.diagnosis.best:.3f} / {found.diagnosis.needed:.3f}" if found.diagnosis else "",
            f"{found.auditor.rate:.0%}" if found.auditor else "not known to it",
        )
        for found in scans
    ]
    columns = ("concept", "plain seeds", "acceptable", "best / needed", "right by the auditor")
    console().print(table("plain seeds", columns, rows))
