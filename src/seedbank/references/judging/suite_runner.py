"""The suite runner: runs suites over tables with Great Expectations and hands back every check, and the Data Docs as files.

Great Expectations only judges numbers that we computed; it reads no photo. Importing it takes seconds, so it is imported when it is used.
It works in a temporary folder: nothing of one run can leak into the next.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from seedbank.errors import SeedbankError
from seedbank.references.judging.suites import BETWEEN, PRESENT, ROWS, Rule, Suite
from seedbank.references.records import Check

DOCS = "gx/uncommitted/data_docs/local_site"
LEFT_OUT = (".gif", ".otf", "iterative-dev-loop.png")
"""Parts of the Data Docs site that are only there for looks, 1.5 MB each time; pages fall back to the browser's own font."""

TableRow = Mapping[str, Any]
"""One row of a table that is judged: a number for each measure, NaN where it could not be measured, and words to explain them with."""


class SuiteRunner:
    """Runs the suites of one subject in a Great Expectations context of its own. Use it as a context manager.

    Its working folder is made on entering and is gone afterwards.

    Args:
        subject: whose tables are judged; named in the titles of the Data Docs.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        import great_expectations as gx

        self._gx: Any = gx
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="seedbank-gx-")))
        self._context: Any = gx.get_context(mode="file", project_root_dir=str(self._folder))
        self._context.variables.progress_bars = {"globally": False}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def version(self) -> str:
        """Version of Great Expectations."""
        return str(self._gx.__version__)

    def run(self, suite: Suite, rows: Sequence[TableRow], *, index: str = "photo") -> tuple[Check, ...]:
        """Run a suite over its table; one check for each rule, in the order of the rules.

        Args:
            suite: the rules.
            rows: have every column that the rules name, and the ``index`` column.
            index: the column that names a row.

        Raises:
            SeedbankError: Great Expectations could not evaluate an expectation.
        """
        import pandas as pd

        gx, context = self._gx, self._context
        # 1. The table: only the columns that rules name, as numbers.
        columns = sorted({rule.column for rule in suite.rules if rule.column})
        cells = [{index: row[index], **{name: float(row[name]) for name in columns}} for row in rows]
        asset = context.data_sources.add_or_update_pandas(self._subject).add_dataframe_asset(suite.table)
        # 2. The suite, bound to that table.
        expected = context.suites.add(gx.ExpectationSuite(name=suite.table, expectations=_expectations(gx, suite)))
        batch = asset.add_batch_definition_whole_dataframe("all")
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(name=suite.table, data=batch, suite=expected)
        )
        # COMPLETE is the format that names every row that broke an expectation (unexpected_index_list).
        checkpoint = gx.Checkpoint(
            name=suite.table,
            validation_definitions=[definition],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [index]},
        )
        # 3. The run, and its results as our own records.
        outcome = context.checkpoints.add(checkpoint).run(
            batch_parameters={"dataframe": pd.DataFrame(cells, columns=[index, *columns])},
            run_id=gx.RunIdentifier(run_name=self._subject),
        )
        (result,) = outcome.run_results.values()
        return tuple(_check(suite, item, index) for item in result.to_json_dict()["results"])

    def data_docs(self) -> dict[str, bytes]:
        """The Data Docs of everything run so far, by relative path; ``index.html`` is the first page."""
        self._context.build_data_docs()
        site = self._folder / DOCS
        return {
            path.relative_to(site).as_posix(): path.read_bytes()
            for path in sorted(site.rglob("*"))
            if path.is_file() and not path.name.endswith(LEFT_OUT)
        }


def _expectations(gx: Any, suite: Suite) -> list[Any]:
    """One expectation for each rule, in the same order."""
    makers = {
        ROWS: gx.expectations.ExpectTableRowCountToBeBetween,
        PRESENT: gx.expectations.ExpectColumnValuesToNotBeNull,
        BETWEEN: gx.expectations.ExpectColumnValuesToBeBetween,
    }
    return [makers[rule.type](**_arguments(number, rule)) for number, rule in enumerate(suite.rules)]


def _arguments(number: int, rule: Rule) -> dict[str, Any]:
    column = {} if rule.type == ROWS else {"column": rule.column}
    bounds = {} if rule.type == PRESENT else {"min_value": rule.minimum, "max_value": rule.maximum}
    return {**column, **bounds, "severity": rule.severity, "meta": {"rule": number, "says": rule.says}}


def _check(suite: Suite, item: Mapping[str, Any], index: str) -> Check:
    config, found = item["expectation_config"], item["result"]
    # Great Expectations does not raise what it cannot evaluate, it notes it in the result: that must not pass for a check.
    if item["exception_info"].get("raised_exception") or (
        "observed_value" not in found and "element_count" not in found
    ):
        raise SeedbankError(
            f"expected a result of {config['type']} for {config['kwargs'].get('column', 'the table')}, Great Expectations failed: "
            f"{item['exception_info'].get('exception_message') or item['exception_info']}"
        )
    # By the number we gave it: results may come in another order.
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
