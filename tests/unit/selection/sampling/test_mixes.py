"""Mixes and neighbours of white noise are white noise of exactly the length asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbank.errors import UsageError
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.mixes import Basis, neighbours, repelled
from seedbank.selection.sampling.noise import draws

SHAPE = (4, 8, 8)
WEIGHTS = st.lists(st.floats(-5, 5), min_size=6, max_size=6).filter(lambda row: sum(w * w for w in row) > 1e-3)


def white(root: str, count: int, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    return draws(root, range(count), shape)


@settings(max_examples=40)
@given(WEIGHTS, st.integers(0, 50))
def test_a_mix_is_as_long_as_the_elites_are_on_average(weights: list[float], root: int) -> None:
    elites = white(str(root), 6)
    mixed = Basis.of(elites).mix(torch.tensor([weights]))
    assert mixed.shape == (1, *SHAPE)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(sphere.norm(mixed).flatten()[0], sphere.norm(elites).mean(), rtol=1e-5, atol=0)


@settings(max_examples=40)
@given(WEIGHTS, st.floats(0.1, 50))
def test_only_the_direction_of_the_weights_counts(weights: list[float], scale: float) -> None:
    basis = Basis.of(white("0", 6))
    row = torch.tensor([weights], dtype=torch.float64)
    torch.testing.assert_close(basis.mix(row), basis.mix(scale * row))


def test_mixes_of_white_noise_are_as_white_as_plain_seeds() -> None:
    """Over many mixes the largest z-score is distributed as that of plain draws of the same shape."""
    plain, basis = white("plain", 400), Basis.of(white("elites", 12))
    weights = torch.randn(400, 12, generator=torch.Generator().manual_seed(0))
    mixed = sphere.whiteness(basis.mix(weights))
    drawn = sphere.whiteness(plain)
    assert abs(float(mixed.median() - drawn.median())) < 0.3
    assert float(mixed.max()) < float(drawn.max()) + 0.7
    assert float(sphere.norm_score(basis.mix(weights)).abs().max()) < 3.5


def test_elites_that_lean_on_each_other_are_whitened_and_others_left_alone() -> None:
    apart = torch.eye(300, dtype=torch.float64)[:3].view(3, 3, 10, 10).float()
    torch.testing.assert_close(Basis.of(apart).mix(torch.eye(3)), apart)

    leaning = apart + 0.5 * apart.roll(1, 0)
    axes = Basis.of(leaning).axes
    torch.testing.assert_close(axes @ axes.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-9)
    unit = leaning.double().flatten(1) / leaning.double().flatten(1).norm(dim=1, keepdim=True)
    assert float((axes * unit).sum(1).min()) > 0.9  # the nearest orthonormal vectors, not just any


@pytest.mark.parametrize(
    ("elites", "said"),
    [(white("0", 1), "at least 2 elite seeds to mix, got 1"), (white("0", 1).repeat(2, 1, 1, 1), "the same or a mix")],
    ids=["one", "equal"],
)
def test_what_spans_no_sphere_is_refused(elites: torch.Tensor, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Basis.of(elites)


@settings(max_examples=40)
@given(st.floats(-0.99, 1.0), st.integers(0, 50))
def test_a_neighbour_has_the_cosine_asked_for_and_its_centres_length(cosine: float, root: int) -> None:
    centre, across = white(f"{root}/c", 2), 7 * white(f"{root}/x", 2)
    moved = neighbours(centre, across, cosine)
    torch.testing.assert_close(sphere.norm(moved), sphere.norm(centre), rtol=1e-5, atol=0)
    torch.testing.assert_close(sphere.cosine(moved, centre), torch.full((2,), cosine), rtol=0, atol=1e-5)


def test_neighbours_of_white_noise_are_white() -> None:
    moved = neighbours(white("centre", 1), white("across", 300), 0.7)
    assert abs(float(sphere.whiteness(moved).median() - sphere.whiteness(white("plain", 300)).median())) < 0.5


def test_one_batch_of_directions_points_apart() -> None:
    rows = repelled("0", range(8), SHAPE).double().flatten(1)
    gram = rows @ rows.T / rows[0].square().sum()
    torch.testing.assert_close(gram[0::2, 0::2], torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-5)
    torch.testing.assert_close(gram[0::2, 1::2], -torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-5)
    assert float(rows[0] @ draws("0", [0], SHAPE).double().flatten()) > 0  # still the draw it was made from


def test_more_directions_than_dimensions_are_left_as_drawn() -> None:
    few = (1, 1, 2)
    rows = repelled("0", range(8), few)
    torch.testing.assert_close(rows[0::2], draws("0", range(4), few))
