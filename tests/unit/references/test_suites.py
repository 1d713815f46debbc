import pytest

from seedbank.concepts import Policy
from seedbank.references.suites import Rule, photo_suite, set_suite

SUITES = (photo_suite(Policy()), set_suite(Policy()))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.table)
def test_no_table_may_be_empty(suite: object) -> None:
    assert suite.min_rows == 1  # type: ignore[attr-defined]


def test_thresholds_come_from_the_policy() -> None:
    policy = Policy.model_validate({"quality": {"min_side_px": 77}, "references": {"min_photos": 3}})
    assert next(rule for rule in photo_suite(policy).rules if rule.column == "min_side_px").minimum == 77
    assert next(rule for rule in set_suite(policy).rules if rule.column == "photos").minimum == 3


def test_every_rule_has_one_bound_and_words_that_can_be_filled_in() -> None:
    for suite in SUITES:
        row = {rule.column: 1.5 for rule in suite.rules} | {"rights": "expired", "same_as": "a.jpg"}
        for rule in suite.rules:
            assert (rule.minimum is None) != (rule.maximum is None)
            said = rule.explain(row)
            assert said
            assert "{" not in said


@pytest.mark.parametrize(("value", "shortfall"), [(10.0, 0.0), (8.0, 0.0), (4.0, 0.5), (0.0, 1.0)])
def test_shortfall_below_a_minimum(value: float, shortfall: float) -> None:
    assert Rule("x", 8.0, None, "critical", "").shortfall(value) == shortfall


def test_shortfall_above_a_maximum() -> None:
    rule = Rule("x", None, 2.0, "critical", "")
    assert (rule.shortfall(2.0), rule.shortfall(3.0)) == (0.0, 0.5)
