"""Single steps of the two updates."""

from __future__ import annotations

import pytest
import torch

from seedbank.errors import UsageError
from seedbank.selection.sampling import sphere
from seedbank.selection.search.recipes import PRESETS, AdamW, Recipe, Tangent, preset
from seedbank.selection.search.updates import first_memory, move


def white(seed: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_adamw_is_torchs_adamw_with_the_papers_drop() -> None:
    update, start = AdamW(), white(0)
    parameter = torch.nn.Parameter(start.clone())
    theirs = torch.optim.AdamW([parameter], lr=0.1)
    noise, memory = start, first_memory(update, start)
    for iteration in range(6):
        gradient = white(10 + iteration)
        if iteration == 3:
            theirs.param_groups[0]["lr"] = 0.01
        parameter.grad = gradient
        theirs.step()
        noise, memory = move(update, noise, start, gradient, memory, iteration, 30)
    torch.testing.assert_close(noise, parameter.detach(), rtol=1e-5, atol=1e-6)


def test_tangent_steps_stay_on_the_starts_own_shell_and_turn_by_the_angle_asked_for() -> None:
    update, start = Tangent(step=0.1, final_step=0.01), white(0)
    noise, memory = start, first_memory(update, start)
    after, memory = move(update, noise, start, white(1), memory, 0, 10)
    torch.testing.assert_close(sphere.norm(after), sphere.norm(start), rtol=1e-6, atol=0)
    torch.testing.assert_close(sphere.cosine(after, start), torch.full((2,), 1.01**-0.5), rtol=1e-4, atol=0)

    last, _ = move(update, start, start, white(1), first_memory(update, start), 9, 10)
    torch.testing.assert_close(sphere.cosine(last, start), torch.full((2,), 1.0001**-0.5), rtol=1e-5, atol=0)


def test_only_the_direction_of_the_gradient_counts() -> None:
    start, gradient = white(0), white(1)
    one, _ = move(Tangent(), start, start, gradient, first_memory(Tangent(), start), 0, 10)
    many, _ = move(Tangent(), start, start, 1e4 * gradient + 3 * start, first_memory(Tangent(), start), 0, 10)
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-5)


def test_many_steps_one_way_end_at_the_edge_of_the_trust_region() -> None:
    update, start = Tangent(step=0.2, final_step=0.2, cosine_floor=0.9), white(0)
    noise, memory, gradient = start, first_memory(update, start), white(1)
    for iteration in range(10):
        noise, memory = move(update, noise, start, gradient, memory, iteration, 10)
    torch.testing.assert_close(sphere.cosine(noise, start), torch.full((2,), 0.9), rtol=1e-4, atol=0)


def test_a_recipe_with_an_unknown_gradient_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a gradient mode 'full', 'last:k'"):
        Recipe("mine", gradient="guess")


def test_langevin_noise_keeps_the_length_and_does_not_depend_on_the_company() -> None:
    update, start = Tangent(langevin=0.05), white(0)
    memory, gradient = first_memory(update, start), white(1)
    together, _ = move(update, start, start, gradient, memory, 0, 10)
    alone, _ = move(update, start[:1], start[:1], gradient[:1], {"momentum": memory["momentum"][:1]}, 0, 10)
    still, _ = move(Tangent(), start, start, gradient, memory, 0, 10)
    torch.testing.assert_close(sphere.norm(together), sphere.norm(start))
    torch.testing.assert_close(alone, together[:1])
    assert (sphere.cosine(together, still) < 0.99).all()


def test_presets_have_digests_of_their_own_and_explore_enough() -> None:
    assert len({recipe.digest for recipe in PRESETS.values()}) == len(PRESETS)
    assert preset("seedselect_v1", starts=20).explore.size == 20
    with pytest.raises(UsageError, match="expected a preset among fast, balanced, thorough, seedselect_v1, got 'best'"):
        preset("best", starts=1)
