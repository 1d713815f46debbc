"""Every gradient mode against plain autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.gradients import Mode, slope
from seedbank.selection.objective import Objective, PaperAppearance, PaperSemantic
from seedbank.selection.sampler import Sampler, make_sampler
from seedbank.selection.targets import Targets, make_targets, stack_images
from seedbank.trials import SamplerConfig


@pytest.fixture(scope="module")
def sampler(build_pipeline: Any, sampler_config: SamplerConfig) -> Sampler:
    return make_sampler(build_pipeline("v_prediction"), "ab", sampler_config)


@pytest.fixture(scope="module")
def targets(sampler: Sampler, encoder: Any, photos: Any) -> Targets:
    return make_targets(stack_images(photos, 16, 16), encoder, sampler.family)


@pytest.fixture(scope="module")
def objective(sampler: Sampler, targets: Targets, encoder: Any) -> Objective:
    """The paper's: it looks at three latents, so a wrong trail shows."""
    terms = (PaperSemantic(targets), PaperAppearance(targets))
    return Objective(terms, sampler.family.decode, encoder, trail=3, balanced=False)


@pytest.fixture
def noise(sampler: Sampler) -> Tensor:
    return torch.randn(2, *sampler.noise_shape, generator=torch.Generator().manual_seed(7))


def test_full_is_plain_autograd(sampler: Sampler, objective: Objective, noise: Tensor) -> None:
    leaf = noise.clone().requires_grad_()
    trail = list(sampler.trail(leaf))
    loss = _loss(objective, trail[-3:])
    (exact,) = torch.autograd.grad(loss.sum(), leaf)

    found = slope(sampler, noise, objective.evaluate, Mode.parse("full"), trail=3)

    torch.testing.assert_close(found.gradient, exact, rtol=1e-5, atol=1e-7 * float(exact.abs().max()))
    torch.testing.assert_close(found.evaluation.objective, loss.detach())
    assert found.network_evaluations == 4 * sampler.cost(2)


def test_last_k_is_autograd_from_the_kth_last_latents(sampler: Sampler, objective: Objective, noise: Tensor) -> None:
    leaf = sampler.run(noise, 0, 1).requires_grad_()
    trail = list(sampler.trail(leaf, 1))
    (exact,) = torch.autograd.grad(_loss(objective, trail[-3:]).sum(), leaf)
    found = slope(sampler, noise, objective.evaluate, Mode.parse("last:3"), trail=3)
    torch.testing.assert_close(found.gradient, exact, rtol=1e-5, atol=1e-7 * float(exact.abs().max()))


def test_one_vjp_is_the_cotangent_through_the_predicted_clean_sample(
    sampler: Sampler, targets: Targets, encoder: Any, noise: Tensor
) -> None:
    objective = Objective((PaperAppearance(targets, name="semantic"),), sampler.family.decode, encoder)
    found = slope(sampler, noise, objective.evaluate, Mode.parse("one_vjp@0.5"))

    final = sampler.run(noise)
    cotangent = 2 * (final - targets.latents.mean(0)) / final[0].numel()  # d/dx mean((x - t)^2)
    middle = sampler.run(noise, 0, 2)
    step = sampler.steps[2]
    _, exact = torch.autograd.functional.vjp(
        lambda x: sampler.clean(x, sampler.predict(x, step), step), middle, cotangent
    )
    torch.testing.assert_close(found.gradient, exact, rtol=1e-5, atol=1e-7 * float(exact.abs().max()))
    torch.testing.assert_close(found.evaluation.objective, objective.score(final).objective)
    assert found.network_evaluations == sampler.cost(2) + 2 * sampler.cost(2, 1)


@pytest.mark.parametrize("mode", ["full", "last:2", "one_vjp@0.5"])
def test_a_small_step_against_the_gradient_lowers_the_objective(
    sampler: Sampler, objective: Objective, noise: Tensor, mode: str
) -> None:
    found = slope(sampler, noise, objective.evaluate, Mode.parse(mode), trail=1 if mode.startswith("one") else 3)
    step = 1e-2 * found.gradient / found.gradient.flatten(1).norm(dim=1)[:, None, None, None]
    after = slope(sampler, noise - step, objective.evaluate, Mode.parse("full"), trail=3).evaluation.objective
    before = slope(sampler, noise, objective.evaluate, Mode.parse("full"), trail=3).evaluation.objective
    assert (after < before).all()


def test_the_images_of_a_batch_do_not_feel_each_other(sampler: Sampler, objective: Objective, noise: Tensor) -> None:
    both = slope(sampler, noise, objective.evaluate, Mode.parse("full"), trail=3).gradient
    alone = slope(sampler, noise[1:], objective.evaluate, Mode.parse("full"), trail=3).gradient
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-6 * float(alone.abs().max()))


@pytest.mark.parametrize("text", ["", "half", "last:0", "one_vjp", "one_vjp@1.5", "full:2"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a gradient mode 'full', 'last:k' or 'one_vjp@x'"):
        Mode.parse(text)


def _loss(objective: Objective, trail: list[Tensor]) -> Tensor:
    """The paper's loss, written again from its equation."""
    semantic, _ = objective.terms
    assert isinstance(semantic, PaperSemantic)
    total = torch.zeros(len(trail[0]))
    for share, latents in zip((0.05, 0.25, 0.70), trail, strict=True):
        seen = objective.encoder(objective.decode(latents).clamp(0, 1))
        total = total + 10 * share * (1 - seen @ semantic.targets.centroid)
    return total + (trail[-1] - semantic.targets.latents.mean(0)).square().mean((1, 2, 3))
