"""Judging: runs suites over tables with Great Expectations and hands back every check, and the Data Docs as files.

Great Expectations only judges numbers that we computed; it reads no picture. Importing it takes seconds, so it is imported when it is used.
It works in a temporary folder: nothing of one run can leak into the next.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from seedbank.errors import SeedbankError
from seedbank.records import Record
from seedbank.references.judging.suites import BETWEEN, PRESENT, ROWS, Rule, Suite

DOCS = "gx/uncommitted/data_docs/local_site"
LEFT_OUT = (".gif", ".otf", "iterative-dev-loop.png")
"""Parts of the Data Docs site that are only there for looks, 1.5 MB each time; pages fall back to the browser's own font."""

Row = Mapping[str, Any]


class Check(Record):
    """One expectation and how it came out.

    ``rule`` is the place of its rule in the suite; ``broken_by`` names the rows that broke it, none for a rule on the number of rows.
    """

    table: str
    rule: int
    expectation: str
    column: str
    minimum: float | None
    maximum: float | None
    severity: Literal["critical", "warning"]
    success: bool
    broken_by: tuple[str, ...]


class Checks(Record):
    """All checks of all tables: what a reference set names as its validation. Holds no time, so that equal pools give equal bytes."""

    subject: str
    inputs: str
    """Digest of everything that was judged."""
    great_expectations: str
    checks: tuple[Check, ...]


class Judge:
    """Judges one subject's tables in a Great Expectations context of its own; made by :func:`sitting`."""

    def __init__(self, gx: Any, context: Any, folder: Path, subject: str) -> None:
        self._gx, self._context, self._folder, self._subject = gx, context, folder, subject
        self.version: str = gx.__version__

    def judge(self, suite: Suite, rows: Sequence[Row], *, index: str = "photo") -> tuple[Check, ...]:
        """Run a suite over its table.

        Args:
            suite: the rules.
            rows: have every column that the rules name, and the ``index`` column.
            index: the column that names a row.

        Raises:
            SeedbankError: Great Expectations could not evaluate an expectation.
        """
        import pandas as pd

        gx, context = self._gx, self._context
        numbers = sorted({rule.column for rule in suite.rules if rule.column})
        cells = [{index: row[index], **{name: float(row[name]) for name in numbers}} for row in rows]
        asset = context.data_sources.add_or_update_pandas(self._subject).add_dataframe_asset(suite.table)
        expected = context.suites.add(gx.ExpectationSuite(name=suite.table, expectations=_expectations(gx, suite)))
        batch = asset.add_batch_definition_whole_dataframe("all")
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(name=suite.table, data=batch, suite=expected)
        )
        checkpoint = gx.Checkpoint(
            name=suite.table,
            validation_definitions=[definition],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [index]},
        )
        outcome = context.checkpoints.add(checkpoint).run(
            batch_parameters={"dataframe": pd.DataFrame(cells, columns=[index, *numbers])},
            run_id=gx.RunIdentifier(run_name=self._subject),
        )
        (result,) = outcome.run_results.values()
        return tuple(_check(suite, item, index) for item in result.to_json_dict()["results"])

    def docs(self) -> dict[str, bytes]:
        """The Data Docs of everything judged so far, by relative path; ``index.html`` is the first page."""
        self._context.build_data_docs()
        site = self._folder / DOCS
        return {
            path.relative_to(site).as_posix(): path.read_bytes()
            for path in sorted(site.rglob("*"))
            if path.is_file() and not path.name.endswith(LEFT_OUT)
        }


@contextmanager
def sitting(subject: str) -> Iterator[Judge]:
    """A judge for ``subject``, named in the titles of the Data Docs; its working folder is gone afterwards."""
    import great_expectations as gx

    with tempfile.TemporaryDirectory(prefix="seedbank-gx-") as folder:
        context = gx.get_context(mode="file", project_root_dir=folder)
        context.variables.progress_bars = {"globally": False}
        yield Judge(gx, context, Path(folder), subject)


def _expectations(gx: Any, suite: Suite) -> list[Any]:
    """One expectation for each rule, in the same order."""
    makers = {
        ROWS: gx.expectations.ExpectTableRowCountToBeBetween,
        PRESENT: gx.expectations.ExpectColumnValuesToNotBeNull,
        BETWEEN: gx.expectations.ExpectColumnValuesToBeBetween,
    }
    return [makers[rule.type](**_arguments(place, rule)) for place, rule in enumerate(suite.rules)]


def _arguments(place: int, rule: Rule) -> dict[str, Any]:
    column = {} if rule.type == ROWS else {"column": rule.column}
    bounds = {} if rule.type == PRESENT else {"min_value": rule.minimum, "max_value": rule.maximum}
    return {**column, **bounds, "severity": rule.severity, "meta": {"rule": place, "says": rule.says}}


def _check(suite: Suite, item: Mapping[str, Any], index: str) -> Check:
    config, found = item["expectation_config"], item["result"]
    if item["exception_info"].get("raised_exception") or (
        "observed_value" not in found and "element_count" not in found
    ):
        raise SeedbankError(
            f"expected a assessment on {config['type']} of {config['kwargs'].get('column', 'the table')}, Great Expectations failed: "
            f"{item['exception_info'].get('exception_message') or item['exception_info']}"
        )
    rule = suite.rules[config["meta"]["rule"]]
    return Check(
        table=suite.table,
        rule=config["meta"]["rule"],
        expectation=config["type"],
        column=rule.column,
        minimum=rule.minimum,
        maximum=rule.maximum,
        severity=config["severity"],
        success=bool(item["success"]),
        broken_by=tuple(sorted(str(row[index]) for row in found.get("unexpected_index_list") or ())),
    )
