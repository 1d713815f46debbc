"""Suites: what Great Expectations expects of the table of photos and of the table of the set, read from files.

``expectations/photos.yaml`` and ``expectations/reference_set.yaml`` *are* the suites: every entry becomes one expectation, in order, with
the thresholds of a concept's policy filled in. A *critical* one puts a photo out, or refuses the set; a *warning* is shown and does
neither. This module needs no Great Expectations; :mod:`seedbank.references.judging.suite_runner` runs the suites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from seedbank.concepts import Policy
from seedbank.errors import UsageError
from seedbank.references.measures.catalogue import PHOTO

PHOTOS = "photos"
"""The table with one row for each photo that is judged."""
SET = "reference_set"
"""The table with one row: the chosen set."""

ROWS = "expect_table_row_count_to_be_between"
# Great Expectations passes over nulls in BETWEEN: where a number must be there, a suite asks for it with PRESENT.
PRESENT = "expect_column_values_to_not_be_null"
BETWEEN = "expect_column_values_to_be_between"
SEVERITIES = ("critical", "warning")
Entries = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One expectation of a suite.

    Attributes:
        column: a measure; empty for a rule on the number of rows.
        minimum: lowest allowed value, None for no bound.
        maximum: highest allowed value, None for no bound.
        severity: what breaking it means.
        says: what a person reads, with ``{value}``, its ``{size}`` without sign, its ``{rest}`` to 1, ``{limit}`` and the row's other
            columns by name.
        type: its name in Great Expectations.
    """

    column: str
    minimum: float | None
    maximum: float | None
    severity: Literal["critical", "warning"]
    says: str
    type: str = BETWEEN

    def explain(self, row: Mapping[str, object]) -> str:
        """The words for a row that breaks this rule."""
        limit = self.minimum if self.minimum is not None else self.maximum
        value = float(str(row.get(self.column, "nan")))
        said = {"value": value, "size": abs(value), "rest": 1 - value, "limit": limit, "column": self.column}
        return self.says.format_map({**row, **said})

    def shortfall(self, value: float) -> float:
        """By what share of its bound ``value`` breaks this rule; 0 when it holds. Only for ranking photos, never for judging them."""
        if self.minimum is not None and value < self.minimum:
            return (self.minimum - value) / max(abs(self.minimum), 1e-9)
        if self.maximum is not None and value > self.maximum:
            return (value - self.maximum) / max(abs(self.maximum), 1e-9)
        return 0.0


@dataclass(frozen=True)
class Suite:
    """The rules of one table, in the order of its file."""

    table: str
    rules: tuple[Rule, ...]

    def bounds(self, column: str) -> tuple[Rule, ...]:
        """The rules that bound ``column``."""
        return tuple(rule for rule in self.rules if rule.type == BETWEEN and rule.column == column)

    @property
    def quality(self) -> tuple[Rule, ...]:
        """The critical bounds on what is measured about one photo by itself."""
        names = {item.name for item in PHOTO}
        return tuple(
            rule for rule in self.rules if rule.type == BETWEEN and rule.severity == "critical" and rule.column in names
        )


def photo_suite(policy: Policy) -> Suite:
    """Rights, quality, and how each photo relates to the concept's other photos and to its siblings."""
    return _suite(_shipped(PHOTOS), policy)


def set_suite(policy: Policy) -> Suite:
    """What the chosen photos must be together."""
    return _suite(_shipped(SET), policy)


def read_suite(text: str, policy: Policy) -> Suite:
    """The suite in a file's text, with the thresholds of ``policy``.

    Raises:
        UsageError: not a suite; the message names the entry.
    """
    return _suite(_read(text), policy)


@cache
def _shipped(name: str) -> tuple[str, Entries]:
    return _read(files("seedbank.references.judging.expectations").joinpath(f"{name}.yaml").read_text(encoding="utf-8"))


def _read(text: str) -> tuple[str, Entries]:
    """The name of a suite and its expectations as they are written."""
    try:
        values = yaml.safe_load(text)
        return str(values["name"]), tuple(values["expectations"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UsageError(f"expected a suite file with a name and a list of expectations: {error!r}") from error


def _suite(written: tuple[str, Entries], policy: Policy) -> Suite:
    (name, entries), thresholds = written, policy.model_dump()
    return Suite(name, tuple(_rule(name, number, entry, thresholds) for number, entry in enumerate(entries, start=1)))


def _rule(suite: str, number: int, entry: Mapping[str, Any], thresholds: Mapping[str, Any]) -> Rule:
    where = f"expectation {number} of suite {suite!r}"
    kind, severity = entry.get("type"), entry.get("severity")
    if kind not in {ROWS, PRESENT, BETWEEN}:
        raise UsageError(f"{where}: expected a type among {ROWS}, {PRESENT} and {BETWEEN}, got {kind!r}")
    if severity not in SEVERITIES:
        raise UsageError(f"{where}: expected severity critical or warning, got {severity!r}")
    kwargs = dict(entry.get("kwargs", {}))
    column = kwargs.pop("column", "")
    low, high = (_bound(where, kwargs.pop(name, None), thresholds) for name in ("min_value", "max_value"))
    if kwargs or bool(column) == (kind == ROWS) or (low is None and high is None) == (kind != PRESENT):
        raise UsageError(f"{where}: expected a column and min_value or max_value as {kind} takes them, got {entry}")
    says = entry.get("says", "{column} is missing; this is a fault of the program")
    return Rule(column=str(column), minimum=low, maximum=high, severity=severity, says=str(says), type=str(kind))


def _bound(where: str, value: object, thresholds: Mapping[str, Any]) -> float | None:
    """A number as it stands, or the threshold of the policy that is named."""
    if value is None or isinstance(value, int | float):
        return None if value is None else float(value)
    part, _, name = str(value).partition(".")
    if name not in thresholds.get(part, {}):
        raise UsageError(
            f"{where}: expected a number or a threshold of the policy, such as quality.min_side_px, got {value!r}"
        )
    return float(thresholds[part][name])
