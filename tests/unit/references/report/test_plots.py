from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbank.references.judging.suites import Rule
from seedbank.references.report.plots import (
    MAP_HEIGHT,
    MAP_WIDTH,
    MARGIN,
    PLOT_HEIGHT,
    PLOT_WIDTH,
    distribute,
    lay_out,
    principal_plane,
)

NONE = np.zeros((0, 3))


def bound(
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    severity: Literal["critical", "warning"] = "critical",
) -> Rule:
    return Rule(column="x", minimum=minimum, maximum=maximum, severity=severity, says="")


def test_the_plane_keeps_what_differs_most() -> None:
    vectors = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.1], [0.0, 2.0, -0.1], [4.0, 2.0, 0.0]])
    places, also = principal_plane(vectors, np.array([[2.0, 1.0, 0.0]]))
    assert np.ptp(places[:, 0]) == pytest.approx(4, abs=0.1)
    assert np.ptp(places[:, 1]) == pytest.approx(2, abs=0.1)
    assert also[0] == pytest.approx([0, 0], abs=0.1)


def test_the_same_photos_give_the_same_map_and_mirrored_axes_do_not_flip_it() -> None:
    vectors = np.random.default_rng(3).normal(size=(9, 3))
    one, _ = principal_plane(vectors, NONE)
    other, _ = principal_plane(vectors[::-1], NONE)
    assert np.allclose(one, other[::-1])


@pytest.mark.parametrize("vectors", [np.zeros((0, 3)), np.ones((1, 3)), np.ones((4, 3)), np.ones((3, 1))])
def test_few_or_equal_photos_have_a_map(vectors: np.ndarray) -> None:
    places, _ = principal_plane(vectors, np.zeros((0, vectors.shape[1])))
    assert places.shape == (len(vectors), 2)
    assert len(lay_out(places, 20)) == len(vectors)


@given(st.integers(0, 10**6), st.integers(2, 25))
def test_no_photo_hides_another_and_all_are_on_the_map(seed: int, count: int) -> None:
    places = np.random.default_rng(seed).normal(size=(count, 2)).round(1)
    points = lay_out(places, 44)
    drawn = np.array([(point.drawn_x, point.drawn_y) for point in points])
    apart = np.linalg.norm(drawn[:, None] - drawn[None], axis=-1) + np.eye(count) * 999
    assert apart.min() > 40
    assert drawn.min() >= MARGIN - 1
    assert (drawn.max(axis=0) <= [MAP_WIDTH - MARGIN + 1, MAP_HEIGHT - MARGIN + 1]).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_a_distribution_shows_every_value_once_within_its_frame(values: list[float]) -> None:
    statuses = ["chosen" if index % 2 else "out" for index in range(len(values))]
    found = distribute(values, statuses, [bound(minimum=3.0)])
    assert found is not None
    unit = min(bar.height for bar in found.bars)
    assert sum(bar.height for bar in found.bars) >= unit * min(len(values), 2) - 1e-6
    assert all(0 <= bar.x < PLOT_WIDTH for bar in found.bars)
    assert all(bar.bottom + bar.height <= PLOT_HEIGHT + 0.1 for bar in found.bars)
    (line,) = found.lines
    assert 0 <= line.x <= PLOT_WIDTH


def test_values_beyond_a_threshold_lie_on_its_other_side() -> None:
    rules = [bound(minimum=20.0), bound(minimum=25.0, severity="warning")]
    found = distribute([1.0, 5.0, 40.0, 600.0], ["out", "out", "chosen", "chosen"], rules)
    assert found is not None
    assert found.logarithmic
    critical, warning = found.lines
    assert critical.x < warning.x
    assert all((bar.x < critical.x) == (bar.status == "out") for bar in found.bars)


def test_what_was_not_measured_has_no_distribution() -> None:
    assert distribute([float("nan")], ["out"], []) is None
