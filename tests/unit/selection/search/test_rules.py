"""Which iterate is kept and when a start stops, on written-down trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from seedbank.selection.search.recipes import BALANCED, Stop
from seedbank.selection.search.rules import NEAR_ENOUGH, Limits, StepMetrics, best_step, halve, leaders, stop_reason

LIMITS = Limits(threshold=0.8, guard_deviation=0.05, semantic_goal=0.05, cosine_floor=0.8)
RECIPE = replace(BALANCED, iterations=20, stop=Stop(stale=5, hacked=3, cornered=5, near_enough=True))


def trajectory(
    objective: Sequence[float], guard: Sequence[float | None] = (), cosine: Sequence[float] = (), semantic: float = 0.5
) -> list[StepMetrics]:
    guards = list(guard) or [0.5] * len(objective)
    cosines = list(cosine) or [0.95] * len(objective)
    rows = zip(objective, guards, cosines, strict=True)
    return [
        StepMetrics(
            iteration=number,
            objective=value,
            semantic=semantic,
            appearance=0.0,
            guard=judged,
            cosine_to_start=near,
            norm_z=0.0,
            whiteness=1.0,
            gradient_norm=1.0,
        )
        for number, (value, judged, near) in enumerate(rows)
    ]


def test_the_lowest_objective_the_guard_accepts_is_kept() -> None:
    kept = best_step(trajectory([9, 5, 4, 3], [0.5, 0.9, 0.85, 0.7]), 0.8)
    assert kept.iteration == 2


def test_an_iterate_the_guard_did_not_see_is_not_kept() -> None:
    assert best_step(trajectory([9, 1, 4], [0.5, None, 0.9]), 0.8).iteration == 2


def test_where_none_is_accepted_the_best_that_is_no_worse_than_the_start_is_kept() -> None:
    assert best_step(trajectory([9, 5, 3], [0.5, 0.6, 0.4]), 0.8).iteration == 1


def test_the_start_is_kept_where_all_are_worse() -> None:
    assert best_step(trajectory([9, 1, 2], [0.9, 0.85, 0.88]), 0.8).iteration == 0


def test_a_good_start_goes_on() -> None:
    assert stop_reason(trajectory([9, 8, 7]), RECIPE, LIMITS) == ""


def test_it_stops_when_the_iterations_are_spent() -> None:
    falling = [100 - number for number in range(21)]
    assert stop_reason(trajectory(falling[:20]), RECIPE, LIMITS) == ""
    assert stop_reason(trajectory(falling), RECIPE, LIMITS) == "all iterations spent"


def test_it_stops_when_the_objective_no_longer_improves() -> None:
    assert stop_reason(trajectory([9, 5, 5, 5, 5, 5]), RECIPE, LIMITS) == ""
    assert stop_reason(trajectory([9, 5, 5, 5, 4.99, 5, 5]), RECIPE, LIMITS) == "no more improvement"


def test_it_stops_when_the_guard_falls_while_the_objective_improves() -> None:
    guards = [0.5, None, 0.7, None, 0.6, None, 0.64, None, 0.5]
    reason = stop_reason(trajectory([9, 8, 7, 6, 5, 4, 3, 2, 1], guards), RECIPE, LIMITS)
    assert reason == "the guard falls while the objective improves"
    recovered = [*guards[:-1], 0.69]
    assert stop_reason(trajectory([9, 8, 7, 6, 5, 4, 3, 2, 1], recovered), RECIPE, LIMITS) == ""


def test_it_stops_at_the_edge_of_the_trust_region() -> None:
    cosines = [1, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8]
    assert (
        stop_reason(trajectory([9, 8, 7, 6, 5, 4, 3], cosine=cosines), RECIPE, LIMITS)
        == "at the edge of the trust region"
    )


def test_it_stops_when_near_enough_and_the_guard_agrees() -> None:
    near = trajectory([9, 8], [0.5, 0.9], semantic=0.04)
    assert stop_reason(near, RECIPE, LIMITS).startswith("as near the references as they are to each other")
    assert stop_reason(trajectory([9, 8], [0.5, 0.7], semantic=0.04), RECIPE, LIMITS) == ""
    assert stop_reason(trajectory([9, 8], [0.5, None], semantic=0.04), RECIPE, LIMITS) == ""


@pytest.mark.parametrize("steepness", [float("nan"), float("inf")])
def test_it_stops_when_the_gradient_is_no_number(steepness: float) -> None:
    broken = [replace(trajectory([9])[0], gradient_norm=steepness)]
    assert stop_reason(broken, RECIPE, LIMITS) == "the gradient is not a finite number"


def test_rules_can_be_switched_off() -> None:
    off = replace(RECIPE, stop=replace(RECIPE.stop, stale=0, hacked=0, cornered=0, near_enough=False))
    worst = trajectory([5] * 9, [0.9, *[0.1] * 8], [1, *[0.8] * 8], semantic=0.01)
    assert stop_reason(worst, RECIPE, LIMITS) != ""
    assert stop_reason(worst, off, LIMITS) == ""


class TestSpareStarts:
    """More starts than are wanted, of which the less promising drop out."""

    limits = replace(LIMITS, semantic_limit=0.1)
    recipe = replace(RECIPE, iterations=5, spare=2.0)

    def test_what_can_be_accepted_leads_whatever_its_objective(self) -> None:
        accepted = trajectory([9.0], [0.9], semantic=0.05)
        unlike_the_references = trajectory([1.0], [0.9], semantic=0.2)
        not_for_the_guard = trajectory([2.0], [0.7], semantic=0.05)
        rows = [unlike_the_references, not_for_the_guard, accepted]
        assert leaders(rows, self.recipe, self.limits, wanted=1) == [2]
        assert leaders(rows, self.recipe, self.limits, wanted=2) == [0, 2]

    def test_all_end_once_enough_are_near_enough(self) -> None:
        rows = [trajectory([9.0, 8.0], [0.9, 0.9])] * 3
        assert halve(rows, [NEAR_ENOUGH, "", ""], self.recipe, self.limits, wanted=2) == [NEAR_ENOUGH, "", ""]
        ended = halve(rows, [NEAR_ENOUGH, "", NEAR_ENOUGH], self.recipe, self.limits, wanted=2)
        assert ended == [NEAR_ENOUGH, "enough others are near enough", NEAR_ENOUGH]

    def test_after_two_fifths_only_the_leaders_go_on(self) -> None:
        rows = [trajectory([9.0, 8.0, value], [0.5, 0.5, 0.5]) for value in (3.0, 1.0, 2.0)]
        assert halve(rows, ["", "", ""], self.recipe, self.limits, wanted=2) == ["others were more promising", "", ""]
        assert halve([row[:2] for row in rows], ["", "", ""], self.recipe, self.limits, wanted=2) == ["", "", ""]

    def test_after_a_fifth_half_of_the_spare_ones_drop_out(self) -> None:
        rows = [trajectory([9.0, value], [0.5, 0.5]) for value in (4.0, 1.0, 3.0, 2.0)]
        assert halve(rows, [""] * 4, self.recipe, self.limits, wanted=2) == ["others were more promising", "", "", ""]
        assert halve(rows, [""] * 4, self.recipe, self.limits, wanted=1) == ["others were more promising", "", "", ""]

    def test_a_start_that_ended_early_can_lead_too(self) -> None:
        rows = [trajectory([9.0, 0.5], [0.5, 0.5]), *(trajectory([9.0, 8.0, value], [0.5] * 3) for value in (1.0, 2.0))]
        assert halve(rows, ["done", "", ""], self.recipe, self.limits, wanted=2) == [
            "done",
            "",
            "others were more promising",
        ]

    def test_nobody_drops_out_where_none_is_spare(self) -> None:
        rows = [trajectory([9.0, 8.0, 7.0])] * 2
        assert halve(rows, [NEAR_ENOUGH, ""], self.recipe, self.limits, wanted=2) == [NEAR_ENOUGH, ""]
