"""Invariants of the shell."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seedbank.selection.sampling import sphere

SHAPE = (4, 8, 8)
integers = st.integers(0, 2**31)
scales = st.floats(0.01, 50)


def white(seed: int, count: int = 3) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


@given(integers, scales)
def test_retract_restores_the_length_and_keeps_the_direction(seed: int, scale: float) -> None:
    start = white(seed)
    back = sphere.retract(start * scale, sphere.norm(start))
    torch.testing.assert_close(sphere.norm(back), sphere.norm(start), rtol=1e-6, atol=0)
    torch.testing.assert_close(sphere.cosine(back, start), torch.ones(3))


@given(integers, scales)
def test_tangent_is_orthogonal_and_idempotent(seed: int, scale: float) -> None:
    seeds, gradient = white(seed), scale * white(seed + 1)
    along = sphere.tangent(gradient, seeds)
    assert sphere.cosine(along, seeds).abs().max() < 1e-5
    torch.testing.assert_close(sphere.tangent(along, seeds), along, rtol=1e-4, atol=1e-4 * scale)


@given(integers, st.floats(-1, 3), st.floats(0.5, 0.99))
def test_trust_keeps_within_the_cone_and_changes_nothing_inside(seed: int, stray: float, floor: float) -> None:
    start = white(seed)
    seeds = sphere.retract(start + stray * white(seed + 1), sphere.norm(start))
    held = sphere.trust(seeds, start, floor)
    inside = sphere.cosine(seeds, start) >= floor
    assert (sphere.cosine(held, start) >= floor - 1e-4).all()
    assert torch.equal(held[inside], seeds[inside])
    torch.testing.assert_close(sphere.norm(held), sphere.norm(seeds), rtol=1e-4, atol=1e-4)


def test_unit_of_zero_is_zero() -> None:
    assert not sphere.unit(torch.zeros(1, *SHAPE)).any()


def test_white_noise_passes_the_whiteness_tests() -> None:
    scores = sphere.whiteness(white(0, 2000))
    assert scores.median() < 3
    assert (scores > 5).float().mean() < 0.02
    norms = sphere.norm_score(white(1, 2000))
    assert norms.mean().abs() < 0.1
    assert norms.std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda noise: noise + 1,
        lambda noise: noise * 2,
        lambda noise: noise + noise.roll(1, -1),
        lambda noise: noise + noise.roll(1, -2),
        lambda noise: noise * torch.tensor([1.0, 1, 1, 3])[:, None, None],
    ],
    ids=["shifted", "louder", "smeared right", "smeared down", "one channel louder"],
)
def test_spoilt_noise_fails_the_whiteness_tests(spoil: object) -> None:
    assert callable(spoil)
    assert sphere.whiteness(spoil(white(0))).min() > 4


def test_noise_off_the_shell_has_a_high_norm_score() -> None:
    assert sphere.norm_score(1.5 * white(0)).min() > 3
    assert sphere.norm_score(0.6 * white(0)).max() < -3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda noise: noise + 0.5,
        lambda noise: 0.8 * noise + 0.5 * noise.roll(1, -1),
        lambda noise: 0.8 * noise + 0.5 * noise.roll(1, -2),
        lambda noise: noise * torch.tensor([1.0, 1, 1, 1.8])[:, None, None],
    ],
    ids=["shifted", "smeared right", "smeared down", "one channel louder"],
)
def test_repair_makes_noise_white_again_and_keeps_most_of_it(spoil: object) -> None:
    assert callable(spoil)
    spoilt = sphere.retract(spoil(white(0)), sphere.norm(white(0)))
    repaired = sphere.whiten(spoilt, 4.0)
    assert sphere.whiteness(repaired).max() < 4.5 < sphere.whiteness(spoilt).max()
    assert sphere.cosine(repaired, spoilt).min() > 0.85
    torch.testing.assert_close(sphere.norm(repaired), sphere.norm(spoilt), rtol=1e-5, atol=0)


@given(integers)
def test_what_is_white_is_left_alone(seed: int) -> None:
    noise = white(seed)
    fine = sphere.whiteness(noise) <= 4
    assert torch.equal(sphere.whiten(noise, 4.0)[fine], noise[fine])
