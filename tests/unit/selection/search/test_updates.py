"""Single steps of the two updates."""

from __future__ import annotations

import pytest
import torch

from seedbank.errors import UsageError
from seedbank.selection.sampling import sphere
from seedbank.selection.search.recipes import PRESETS, AdamW, Recipe, Tangent, preset
from seedbank.selection.search.updates import initial_moments, step


def white(seed: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_adamw_is_torchs_adamw_with_the_papers_drop() -> None:
    update, start = AdamW(), white(0)
    parameter = torch.nn.Parameter(start.clone())
    theirs = torch.optim.AdamW([parameter], lr=0.1)
    noise, moments = start, initial_moments(update, start)
    for iteration in range(6):
        gradient = white(10 + iteration)
        if iteration == 3:
            theirs.param_groups[0]["lr"] = 0.01
        parameter.grad = gradient
        theirs.step()
        noise, moments = step(update, noise, gradient, moments, start=start, iteration=iteration, iterations=30)
    torch.testing.assert_close(noise, parameter.detach(), rtol=1e-5, atol=1e-6)


def test_tangent_steps_stay_on_the_starts_own_shell_and_turn_by_the_angle_asked_for() -> None:
    update, start = Tangent(step=0.1, final_step=0.01), white(0)
    noise, moments = start, initial_moments(update, start)
    after, moments = step(update, noise, white(1), moments, start=start, iteration=0, iterations=10)
    torch.testing.assert_close(sphere.norm(after), sphere.norm(start), rtol=1e-6, atol=0)
    torch.testing.assert_close(sphere.cosine(after, start), torch.full((2,), 1.01**-0.5), rtol=1e-4, atol=0)

    last, _ = step(update, start, white(1), initial_moments(update, start), start=start, iteration=9, iterations=10)
    torch.testing.assert_close(sphere.cosine(last, start), torch.full((2,), 1.0001**-0.5), rtol=1e-5, atol=0)


def test_only_the_direction_of_the_gradient_counts() -> None:
    start, gradient = white(0), white(1)
    options = {"start": start, "iteration": 0, "iterations": 10}
    one, _ = step(Tangent(), start, gradient, initial_moments(Tangent(), start), **options)
    many, _ = step(Tangent(), start, 1e4 * gradient + 3 * start, initial_moments(Tangent(), start), **options)
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-5)


def test_many_steps_one_way_end_at_the_edge_of_the_trust_region() -> None:
    update, start = Tangent(step=0.2, final_step=0.2, cosine_floor=0.9), white(0)
    noise, moments, gradient = start, initial_moments(update, start), white(1)
    for iteration in range(10):
        noise, moments = step(update, noise, gradient, moments, start=start, iteration=iteration, iterations=10)
    torch.testing.assert_close(sphere.cosine(noise, start), torch.full((2,), 0.9), rtol=1e-4, atol=0)


def test_a_recipe_with_an_unknown_gradient_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a gradient mode 'full', 'last:k'"):
        Recipe("mine", gradient="guess")


def test_langevin_noise_keeps_the_length_and_does_not_depend_on_the_company() -> None:
    update, start = Tangent(langevin=0.05), white(0)
    moments, gradient = initial_moments(update, start), white(1)
    together, _ = step(update, start, gradient, moments, start=start, iteration=0, iterations=10)
    alone, _ = step(
        update,
        start[:1],
        gradient[:1],
        {"momentum": moments["momentum"][:1]},
        start=start[:1],
        iteration=0,
        iterations=10,
    )
    still, _ = step(Tangent(), start, gradient, moments, start=start, iteration=0, iterations=10)
    torch.testing.assert_close(sphere.norm(together), sphere.norm(start))
    torch.testing.assert_close(alone, together[:1])
    assert (sphere.cosine(together, still) < 0.99).all()


def test_presets_have_digests_of_their_own_and_explore_enough() -> None:
    assert len({recipe.digest for recipe in PRESETS.values()}) == len(PRESETS)
    assert preset("seedselect_v1", starts=20).explore.size == 20
    with pytest.raises(UsageError, match="expected a preset among fast, balanced, thorough, seedselect_v1, got 'best'"):
        preset("best", starts=1)
