import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seedbank.references.choosing.facility_location import Chosen, choose


def similarity(seed: int, count: int) -> np.ndarray:
    vectors = np.abs(np.random.default_rng(seed).normal(size=(count, 4)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def worth(table: np.ndarray, quality: np.ndarray, rows: tuple[int, ...]) -> float:
    return float((table * quality)[:, list(rows)].max(axis=1).sum())


def test_one_photo_of_each_kind_comes_before_a_second_of_any() -> None:
    table = np.kron(np.eye(3), np.full((2, 2), 0.95)) + 0.05 * np.eye(6)
    assert sorted(item.index // 2 for item in choose(table, np.ones(6), 3)) == [0, 1, 2]


def test_of_two_alike_the_better_photo_is_chosen() -> None:
    assert choose(np.ones((2, 2)), np.array([0.4, 0.9]), 1)[0].index == 1


def test_ties_go_to_the_first() -> None:
    assert [item.index for item in choose(np.eye(4), np.ones(4), 3)] == [0, 1, 2]


def test_of_photos_that_add_nothing_the_most_different_one_is_chosen() -> None:
    """The weak photos 1 and 2 stand for nothing better than photo 0 does, not even for themselves."""
    table = np.array([[1.0, 0.9, 0.5], [0.9, 1.0, 0.4], [0.5, 0.4, 1.0]])
    chosen = choose(table, np.array([1.0, 0.3, 0.3]), 2)
    assert chosen == [Chosen(0, 2.4), Chosen(2, 0.0)]


def test_nothing_to_choose_from() -> None:
    assert choose(np.zeros((0, 0)), np.zeros(0), 5) == []


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 4))
def test_the_greedy_choice_is_nearly_the_best_one(seed: int, count: int, wanted: int) -> None:
    table, quality = similarity(seed, count), np.random.default_rng(seed).uniform(0.1, 1, count)
    chosen = choose(table, quality, wanted)
    rows = tuple(item.index for item in chosen)
    assert len(set(rows)) == len(rows) == min(wanted, count)
    gains = [item.gain for item in chosen]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(gains))
    assert np.isclose(sum(gains), worth(table, quality, rows))
    best = max(worth(table, quality, some) for some in itertools.combinations(range(count), len(rows)))
    assert worth(table, quality, rows) >= (1 - 1 / np.e) * best - 1e-9


@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 4), st.data())
def test_what_is_first_comes_first_and_the_rest_is_nearly_the_best_addition(
    seed: int, count: int, wanted: int, data: st.DataObject
) -> None:
    table, quality = similarity(seed, count), np.random.default_rng(seed).uniform(0.1, 1, count)
    first = data.draw(st.lists(st.integers(0, count - 1), unique=True, max_size=min(wanted, count)))
    rows = tuple(item.index for item in choose(table, quality, wanted, first=first))
    assert list(rows[: len(first)]) == first
    more = len(rows) - len(first)
    base = worth(table, quality, tuple(first)) if first else 0.0
    left = set(range(count)) - set(first)
    best = max(
        worth(table, quality, (*first, *some)) if first or some else 0.0 for some in itertools.combinations(left, more)
    )
    assert worth(table, quality, rows) - base >= (1 - 1 / np.e) * (best - base) - 1e-9
