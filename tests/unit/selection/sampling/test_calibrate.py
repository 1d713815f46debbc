"""The choice of a gradient mode, on objectives and models made so that the answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling import sphere
from seedbank.selection.sampling.calibrate import ANGLE, calibrate
from seedbank.selection.sampling.gradients import Evaluation, value_and_grad
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.sampler import Sampler, make_sampler
from support import pipelines as tiny

CONFIG = SamplerConfig(
    scheduler="DDIMScheduler", num_inference_steps=6, guidance_scale=3.0, height=16, width=16, dtype="float32"
)


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    scheduler = DDIMScheduler(clip_sample=False, steps_offset=1, prediction_type="v_prediction", **tiny.BETAS)
    return make_sampler(tiny.stable_diffusion(scheduler), "ab", CONFIG)


@pytest.fixture(scope="module")
def noise(sampler: Sampler) -> Tensor:
    return torch.randn(2, *sampler.noise_shape, generator=torch.Generator().manual_seed(7))


def test_the_cheapest_that_agrees_is_chosen(sampler: Sampler, noise: Tensor) -> None:
    found = calibrate(sampler, noise, pull, ("last:3", "one_vjp@0.5", "full"))
    assert found.chosen == "one_vjp@0.5"
    assert [check.mode for check in found.checks] == ["one_vjp@0.5", "last:3", "full"]
    costs = [check.network_evaluations for check in found.checks]
    assert costs == [8 * 2, (6 + 3 * 3) * 2, 4 * 6 * 2]
    assert found.network_evaluations == 2 * sum(costs) + 3 * sampler.cost(2)
    assert all(check.agrees and min(check.cosines) >= 0.5 and min(check.decreases) > 0 for check in found.checks)
    assert found.checks[-1].cosines == pytest.approx((1.0, 1.0))


def test_of_modes_that_cost_the_same_the_one_that_agrees_best_is_chosen(sampler: Sampler, noise: Tensor) -> None:
    modes = ("one_vjp@0.9", "one_vjp@0.2", "one_vjp@0.5")
    found = calibrate(sampler, noise, pull, modes)
    alone = {mode: min(calibrate(sampler, noise, pull, (mode,)).checks[0].cosines) for mode in modes}
    assert len(set(alone.values())) == 3
    assert found.chosen == max(modes, key=lambda mode: alone[mode])


def test_the_numbers_are_what_they_say(sampler: Sampler, noise: Tensor) -> None:
    check = calibrate(sampler, noise, pull, ("last:3",)).checks[0]
    mode, exact = (value_and_grad(sampler, noise, pull, Mode.parse(name)) for name in ("last:3", "full"))
    mine, theirs = (sphere.tangent(each.gradient, noise) for each in (mode, exact))
    assert check.cosines == pytest.approx(sphere.cosine(mine, theirs).tolist())
    moved = sphere.retract(
        noise - sphere.norm(noise) * torch.tan(torch.tensor(ANGLE)) * sphere.unit(mine), sphere.norm(noise)
    )
    expected = pull([sampler.denoise(noise)]).objective - pull([sampler.denoise(moved)]).objective
    assert check.decreases == pytest.approx(expected.tolist(), rel=1e-2)


def test_a_mode_that_points_elsewhere_is_not_chosen(sampler: Sampler, noise: Tensor) -> None:
    def torn(last_latents: Sequence[Tensor]) -> Evaluation:
        """The first latents pull hard one way and the final ones, which are all that ``last:1`` sees, a little the other way."""
        early, late = pull(last_latents[:1]), pull(last_latents)
        value = 10 * early.objective - 0.1 * late.objective
        cotangents = [10 * early.cotangents[0], *(-0.1 * gradient for gradient in late.cotangents[1:])]
        return replace(late, objective=value, cotangents=tuple(cotangents))

    found = calibrate(sampler, noise, torn, ("last:1",), last_steps=6)
    check = found.checks[0]
    assert (check.mode, check.agrees) == ("last:1", False)
    assert max(check.decreases) < 0
    assert found.chosen == "full"


def test_where_nothing_agrees_the_exact_gradient_is_the_last_resort(sampler: Sampler, noise: Tensor) -> None:
    def early(last_latents: Sequence[Tensor]) -> Evaluation:
        """Looks at the first latents alone, which no truncated mode can see."""
        found = pull(last_latents[:1])
        silent = [torch.zeros_like(latents) for latents in last_latents[1:]]
        return replace(found, cotangents=(*found.cotangents, *silent))

    found = calibrate(sampler, noise, early, ("last:1",), last_steps=6)
    assert [(check.mode, check.agrees) for check in found.checks] == [
        ("last:1", False),
        ("last:3", False),
        ("full", True),
    ]
    assert (found.chosen, found.reason) == ("full", "none of last:1 agrees with the exact gradient")


def test_an_objective_that_cannot_be_lowered_says_so(sampler: Sampler, noise: Tensor) -> None:
    def flat(last_latents: Sequence[Tensor]) -> Evaluation:
        found = pull(last_latents)
        return replace(found, objective=torch.ones(len(last_latents[-1])))

    found = calibrate(sampler, noise, flat, ("last:1",))
    assert found.chosen == "full"
    assert found.reason.startswith("no gradient lowers the objective")


def test_the_same_arguments_give_the_same_report(sampler: Sampler, noise: Tensor) -> None:
    assert calibrate(sampler, noise, pull) == calibrate(sampler, noise, pull)


def test_no_seed_is_refused(sampler: Sampler, noise: Tensor) -> None:
    with pytest.raises(UsageError, match="expected the noise of at least one seed to calibrate on, got none"):
        calibrate(sampler, noise[:0], pull)


@torch.enable_grad()
def pull(last_latents: Sequence[Tensor]) -> Evaluation:
    """Distance of the final latents to some others."""
    leaves = [latents.detach().requires_grad_() for latents in last_latents]
    goal = 3 * torch.randn(leaves[-1].shape[1:], generator=torch.Generator().manual_seed(11))
    value = (leaves[-1] - goal).square().mean((1, 2, 3))
    cotangents = torch.autograd.grad(value.sum(), leaves, materialize_grads=True)
    return Evaluation(
        value.detach(), {"pull": value.detach()}, leaves[-1].detach(), value.detach()[:, None], cotangents
    )
