import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seedbank.references.choosing import choose


def similarity(seed: int, count: int) -> np.ndarray:
    vectors = np.abs(np.random.default_rng(seed).normal(size=(count, 4)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def worth(table: np.ndarray, quality: np.ndarray, rows: tuple[int, ...]) -> float:
    return float((table * quality)[:, list(rows)].max(axis=1).sum())


def test_one_photo_of_each_kind_comes_before_a_second_of_any() -> None:
    table = np.kron(np.eye(3), np.full((2, 2), 0.95)) + 0.05 * np.eye(6)
    assert sorted(row // 2 for row, _ in choose(table, np.ones(6), 3)) == [0, 1, 2]


def test_of_two_alike_the_better_photo_is_chosen() -> None:
    assert choose(np.ones((2, 2)), np.array([0.4, 0.9]), 1)[0][0] == 1


def test_ties_go_to_the_first() -> None:
    assert [row for row, _ in choose(np.eye(4), np.ones(4), 3)] == [0, 1, 2]


def test_nothing_to_choose_from() -> None:
    assert choose(np.zeros((0, 0)), np.zeros(0), 5) == []


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 4))
def test_the_greedy_choice_is_nearly_the_best_one(seed: int, count: int, wanted: int) -> None:
    table, quality = similarity(seed, count), np.random.default_rng(seed).uniform(0.1, 1, count)
    chosen = choose(table, quality, wanted)
    rows = tuple(row for row, _ in chosen)
    assert len(set(rows)) == len(rows) == min(wanted, count)
    gains = [gain for _, gain in chosen]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(gains))
    assert np.isclose(sum(gains), worth(table, quality, rows))
    best = max(worth(table, quality, some) for some in itertools.combinations(range(count), len(rows)))
    assert worth(table, quality, rows) >= (1 - 1 / np.e) * best - 1e-9
