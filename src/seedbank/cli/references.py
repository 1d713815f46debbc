"""``seedbank intake`` and ``seedbank validate``: photos in, and the reference set out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from seedbank.cli.output import JsonFlag, console, needs, open_bank, print_json, table
from seedbank.errors import UnusableReferences

if TYPE_CHECKING:
    from seedbank.references.intake.outcomes import IntakeReport, OutcomeKind
    from seedbank.references.records import Examination

SHORT = 12
"""Digits of a digest in tables; --json has them all."""
NEWS: tuple[OutcomeKind, ...] = ("duplicate", "waiting", "quarantined")
"""Outcomes that intake lists one by one; of those that were taken in, now or before, the number is enough."""


@needs("references")
def intake(
    source: Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix, with a sub-folder for each concept.")],
    concept: Annotated[
        str | None, typer.Option(help="The concept of all the photos, where there are no sub-folders.")
    ] = None,
    requested_by: Annotated[
        str | None, typer.Option(help="Id of who asks for it; neither they nor you may review it.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Read files again that have not changed since the last time.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Take photos in; the bad ones go into quarantine, each with a reason.

    A photo needs its rights beside it in a sidecar, photo.jpg.yaml, or in a row of rights.csv. Running it again takes only what is new.

    Example: seedbank intake examples/photos
    """
    from seedbank.references.intake.run import intake as take_in

    bank = open_bank()
    with Console(stderr=True).status("taking photos in") as status:
        report = take_in(
            bank,
            source,
            concept=concept,
            requested_by=requested_by or bank.settings.actor,
            again=again,
            progress=lambda outcome: status.update(f"taking photos in: {outcome.concept}/{outcome.name}"),
        )
    if json:
        listed: dict[str, object] = {kind: [asdict(item) for item in report.of_kind(kind)] for kind in report.counts}
        print_json({**listed, "counts": report.counts, "notes": report.notes})
    else:
        _print_report(report)


@needs("references")
def validate(
    concept: Annotated[str, typer.Argument(help="Name of the concept.")],
    json: JsonFlag = False,
) -> None:
    """Judge the photos of a concept and freeze its reference set; exit code 1 when they do not make one.

    Prints every photo's assessment, the set's measures and what to photograph next; the same as a page lies where it says.

    Example: seedbank validate wingnut
    """
    from seedbank.references.validation import examine

    bank = open_bank()
    with Console(stderr=True).status(f"judging the photos of {concept}"):
        asked = bank.concept(concept)
        examination = examine(bank, asked, requested_by=[asked.owner])
    if json:
        pages = {"report": examination.report, "data_docs": examination.data_docs}
        print_json({**examination.model_dump(mode="json"), **pages})
    else:
        _print_examination(examination, bank.store.url)
    if examination.refusal:
        raise UnusableReferences(f"{concept}: {examination.refusal}; the table above says why, photo by photo")


def _print_report(report: IntakeReport) -> None:
    rows = [(kind, item.concept, item.name, item.reason) for kind in NEWS for item in report.of_kind(kind)]
    if rows:
        console().print(table("Not taken in", ("what", "concept", "photo", "why"), rows))
    for note in report.notes:
        console().print(f"note: {note}")
    words = {
        "accepted": "taken in",
        "waiting": "waiting for consent",
        "known": "known",
        "duplicate": "duplicate",
        "quarantined": "in quarantine",
    }
    console().print(", ".join(f"{count} {words[kind]}" for kind, count in report.counts.items()))
    for name in report.concepts:
        console().print(f"next: seedbank validate {name}")


def _print_examination(examination: Examination, store: str) -> None:
    """The report's contact sheet, measures and advice, in text."""
    from seedbank.references.measures.catalogue import SET

    rows = [
        (assessment.name, assessment.photo[:SHORT], "in" if assessment.chosen else "out", "\n".join(assessment.lines))
        for assessment in sorted(examination.assessments, key=lambda item: (not item.chosen, item.name))
    ]
    console().print(table(f"Photos of {examination.concept}", ("photo", "digest", "set", "why"), rows))
    measures = [
        (item.label, f"{examination.measures[item.name]:g}", item.unit, item.source)
        for item in SET
        if item.name in examination.measures
    ]
    console().print(table("The set as a whole", ("measure", "value", "unit", "source"), measures))
    for words in examination.advice:
        console().print(f"next photo: {words}")
    for words in (*examination.warnings, *examination.unmeasured):
        console().print(f"note: {words}")
    console().print(f"report: {store}/{examination.report}\nData Docs: {store}/{examination.data_docs}")
    if examination.reference_set:
        console().print(f"reference set {examination.reference_set}\nnext: seedbank optimise {examination.concept}")
