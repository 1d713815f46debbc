from typing import Literal

import pytest

from seedbank.concepts import Policy
from seedbank.errors import UsageError
from seedbank.references.judging.suites import BETWEEN, PRESENT, ROWS, Rule, photo_suite, read_suite, set_suite
from seedbank.references.measures.catalogue import PHOTO, RELATION, SET


def bound(
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    severity: Literal["critical", "warning"] = "critical",
) -> Rule:
    return Rule(column="x", minimum=minimum, maximum=maximum, severity=severity, says="")


SUITES = (photo_suite(Policy()), set_suite(Policy()))


@pytest.mark.parametrize(("suite", "rows"), zip(SUITES, (2, 1), strict=True))
def test_no_table_may_be_too_short(suite: object, rows: int) -> None:
    (rule,) = [rule for rule in suite.rules if rule.type == ROWS]  # type: ignore[attr-defined]
    assert (rule.minimum, rule.severity) == (rows, "critical")


def test_thresholds_come_from_the_policy() -> None:
    policy = Policy.model_validate({"quality": {"min_side_px": 77}, "references": {"min_photos": 3}})
    assert photo_suite(policy).bounds("min_side_px")[0].minimum == 77
    assert set_suite(policy).bounds("photos")[0].minimum == 3


def test_every_threshold_of_the_policy_for_photos_and_sets_is_used() -> None:
    text = "".join(open_suite(name) for name in ("photos", "reference_set"))
    policy = Policy().model_dump()
    not_judged = {"max_judged", "sibling_seeds"}
    named = {f"{part}.{name}" for part in ("quality", "references") for name in policy[part] if name not in not_judged}
    assert [name for name in sorted(named) if f'"{name}"' not in text] == []


def open_suite(name: str) -> str:
    from importlib.resources import files

    return files("seedbank.references.judging.expectations").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def test_every_rule_has_words_that_can_be_filled_in() -> None:
    words: dict[str, object] = {
        "rights": "expired",
        "same_as": "a.jpg",
        "sibling": "a rod",
        "pinned_faulty": "b.jpg",
        "pinned_against": "c",
        "likeness": 0.3,
        "usual": "0.80",
        "unlike": "0.10",
    }
    for suite in SUITES:
        row = {rule.column: 1.5 for rule in suite.rules} | words
        for rule in suite.rules:
            said = rule.explain(row)
            assert said
            assert "{" not in said
            assert (rule.type == PRESENT) == (rule.minimum is None and rule.maximum is None)


def test_what_is_judged_is_in_the_catalogue() -> None:
    for suite, tables in zip(SUITES, (PHOTO + RELATION, SET), strict=True):
        names = {item.name for item in tables} | {"rights_faults", "banned"}
        assert {rule.column for rule in suite.rules if rule.column} <= names


def test_what_is_always_measured_must_be_there() -> None:
    """A bound passes an empty cell in silence; only what may be unmeasured may be empty."""
    for suite in SUITES:
        critical = {rule.column for rule in suite.rules if rule.type == BETWEEN and rule.severity == "critical"}
        present = {rule.column for rule in suite.rules if rule.type == PRESENT}
        always = {"banned", "pinned_faults", "sibling_margin", "sameness", "belonging"}
        assert critical - present <= always


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{type: expect_the_best, severity: critical}", "expectation 1 of suite 'x': expected a type among"),
        (
            f"{{type: {ROWS}, severity: fatal, kwargs: {{min_value: 1}}}}",
            "expected severity critical or warning, got 'fatal'",
        ),
        (
            f"{{type: {BETWEEN}, severity: warning, kwargs: {{column: a}}}}",
            "expected a column and min_value or max_value",
        ),
        (f"{{type: {BETWEEN}, severity: warning, kwargs: {{max_value: 1}}}}", "expected a column"),
        (f"{{type: {PRESENT}, severity: warning, kwargs: {{column: a, mostly: 0.5}}}}", "as .* takes them"),
        (
            f"{{type: {BETWEEN}, severity: warning, kwargs: {{column: a, max_value: quality.min_beauty}}}}",
            "expected a number or a threshold of the policy, .* got 'quality.min_beauty'",
        ),
    ],
)
def test_a_wrong_entry_of_a_suite_is_named(entry: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_suite(f"name: x\nexpectations: [{entry}]", Policy())


@pytest.mark.parametrize("text", ["", "name: [", "name: x", "name: x\nexpectations: 3"])
def test_what_is_no_suite_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a suite file"):
        read_suite(text, Policy())


@pytest.mark.parametrize(("value", "shortfall"), [(10.0, 0.0), (8.0, 0.0), (4.0, 0.5), (0.0, 1.0)])
def test_shortfall_below_a_minimum(value: float, shortfall: float) -> None:
    assert bound(minimum=8.0).shortfall(value) == shortfall


def test_shortfall_above_a_maximum() -> None:
    rule = bound(maximum=2.0)
    assert (rule.shortfall(2.0), rule.shortfall(3.0)) == (0.0, 0.5)
