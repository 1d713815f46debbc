"""Each equation of the other methods against an independent small computation."""

from __future__ import annotations

from itertools import pairwise
from math import acos, pi

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seedbank.evaluation.baselines import (
    Doodl,
    Nesterov,
    SphericalCentroid,
    initial_moments,
    move,
    prior_gradient,
    risen,
)
from seedbank.selection.judging.targets import Targets
from seedbank.selection.sampling import sphere
from seedbank.selection.search.objective import Samples


def white(seed: int, count: int = 2) -> Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def steps(update: Nesterov | Doodl, start: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    noise, moments, path = start, initial_moments(start), []
    for iteration, gradient in enumerate(gradients):
        noise, moments = move(update, noise, start=start, gradient=gradient, moments=moments, iteration=iteration)
        path.append(noise)
    return path


def test_reno_is_torchs_nesterov_with_clipping_and_the_prior_by_autograd() -> None:
    update, start = Nesterov(), white(0, 1)
    parameter = torch.nn.Parameter(start.clone())
    theirs = torch.optim.SGD([parameter], lr=5.0, momentum=0.9, nesterov=True)
    gradients = [0.05 * white(10 + k, 1) for k in range(5)]
    for gradient, ours in zip(gradients, steps(update, start, gradients), strict=True):
        length = parameter.norm()
        loss = (gradient * parameter).sum() + 0.01 * (0.5 * length**2 - (parameter.numel() - 1) * length.log())
        theirs.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([parameter], 0.1)
        theirs.step()
        torch.testing.assert_close(ours, parameter.detach(), rtol=1e-5, atol=1e-5)


def test_renos_clip_counts_each_seed_by_itself() -> None:
    start = white(0)
    gradient = torch.stack([100 * white(1)[0], 1e-4 * white(2)[0]])
    both = steps(Nesterov(prior=0), start, [gradient])[0]
    alone = steps(Nesterov(prior=0), start[1:], [gradient[1:]])[0]
    torch.testing.assert_close(both[1:], alone)
    torch.testing.assert_close(
        sphere.norm(both - start)[0].flatten(), torch.tensor([5.0 * 1.9 * 0.1]), rtol=1e-4, atol=0
    )


@given(st.floats(0.3, 3.0))
def test_the_prior_pulls_towards_the_shell(scale: float) -> None:
    seed = white(0, 1)
    seed = seed / sphere.norm(seed) * scale * 255**0.5  # d - 1 = 255
    pull = float(sphere.dot(-prior_gradient(seed), seed).flatten())
    assert pull == pytest.approx(255 - 255 * scale**2, abs=0.5)


def test_doodl_clips_value_by_value_and_keeps_the_starts_norm() -> None:
    update, start = Doodl(noise=0.0), white(0)
    gradients = [white(10), 1e-4 * white(11)]
    first, second = steps(update, start, gradients)
    velocity = gradients[0].clamp(-1e-3, 1e-3)
    expected = start - 0.3 * velocity
    torch.testing.assert_close(first, expected * sphere.norm(start) / sphere.norm(expected))
    velocity = 0.9 * velocity + gradients[1]
    expected = first - 0.3 * velocity
    torch.testing.assert_close(second, expected * sphere.norm(start) / sphere.norm(expected))


def test_doodls_noise_is_small_white_and_a_seeds_own() -> None:
    start, still = white(0), torch.zeros(2, 4, 8, 8)
    one, two = steps(Doodl(noise=1e-2), start, [still, still])
    added = (one - start) / 1e-2
    assert float(added.std()) == pytest.approx(1, abs=0.1)
    assert abs(float(sphere.cosine(added, two - one).max())) < 0.2
    torch.testing.assert_close(steps(Doodl(noise=1e-2), start[1:], [still[1:]])[0], one[1:])
    torch.testing.assert_close(sphere.norm(two), sphere.norm(start))


class _Colour:
    """An encoder that sees a picture's mean colour."""

    size = 16

    def __call__(self, images01: Tensor) -> Tensor:
        return torch.nn.functional.normalize(self.features(images01), dim=1)

    def features(self, images01: Tensor) -> Tensor:
        return images01.mean((2, 3))


def painted(*colours: tuple[float, float, float]) -> Samples:
    images = torch.tensor(colours)[:, :, None, None].expand(-1, 3, 16, 16).clone()
    return Samples([images], lambda latents: latents, _Colour())


def aims(*colour: float) -> Targets:
    centroid = torch.nn.functional.normalize(torch.tensor(colour), dim=0)
    return Targets(centroid[None], centroid, torch.zeros(1, 3, 16, 16))


def test_doodls_distance_is_half_the_squared_angle() -> None:
    term = SphericalCentroid(aims(1.0, 0.0, 0.0))
    same, diagonal, other = term(painted((0.9, 0.0, 0.0), (0.5, 0.5, 0.0), (0.0, 0.7, 0.0))).tolist()
    assert same == pytest.approx(0, abs=1e-6)
    assert diagonal == pytest.approx(acos(2**-0.5) ** 2 / 2, rel=1e-4)
    assert other == pytest.approx((pi / 2) ** 2 / 2, rel=1e-4)


def test_doodl_averages_over_cutouts_that_stay_the_same() -> None:
    samples = painted((0.5, 0.0, 0.0))
    samples.last_latents[0][:, :, :, 8:] = torch.tensor([0.0, 0.5, 0.0])[:, None, None]
    term = SphericalCentroid(aims(1.0, 0.0, 0.0))
    assert float(term(samples)) == float(SphericalCentroid(aims(1.0, 0.0, 0.0))(samples))
    assert float(term(samples)) != pytest.approx(float(SphericalCentroid(aims(1.0, 0.0, 0.0), root="1")(samples)))
    leaf = samples.last_latents[0].clone().requires_grad_()
    term(Samples([leaf], lambda latents: latents, _Colour())).sum().backward()
    assert leaf.grad is not None
    assert float(leaf.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ([], None),
        ([5, 4, 3, 2, 1], None),
        ([3, 4, 5, 6], None),  # three rises are not more than three
        ([3, 4, 5, 6, 7], 0),
        ([9, 3, 4, 5, 6, 7, 1], 1),
        ([3, 4, 5, 4, 5, 6, 5], None),
        ([3, 4, 5, 6, 6, 7, 8, 9, 10], 4),  # standing still is no rise
    ],
)
def test_the_papers_stop_rule(losses: list[float], kept: int | None) -> None:
    assert risen(losses) == kept


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 4))
def test_what_the_stop_rule_keeps_is_followed_by_rises_only(losses: list[int], times: int) -> None:
    kept = risen(losses, times)
    runs = [k for k in range(len(losses) - times - 1) if _rising(losses[k : k + times + 2])]
    assert kept == (runs[0] if runs else None)


def _rising(values: list[int]) -> bool:
    return all(later > earlier for earlier, later in pairwise(values))
