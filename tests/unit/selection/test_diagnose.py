"""What a pool of plain seeds says, on pools made to be each kind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seedbank.selection.diagnose import FAR, diagnose


def pool(mean: float, spread: float, count: int = 64, *, seed: int = 0) -> Tensor:
    noise = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    return mean + spread * (noise - noise.mean()) / noise.std()


def test_where_plain_seeds_are_often_right_more_of_them_are_enough() -> None:
    found = diagnose(torch.cat([pool(0.3, 0.05, 54), pool(0.9, 0.01, 10)]), 0.8, pool(0.5, 0.2), 0.9)
    assert (found.verdict, found.reach, found.accepted) == ("more search", "yes", 10)
    assert found.each == pytest.approx(6.4)
    assert found.low < 10 / 64 < found.high
    assert "10 of 64 plain seeds are acceptable" in found.words
    assert "about 6 for each image" in found.words


def test_where_one_in_many_is_right_optimising_is_cheaper() -> None:
    found = diagnose(torch.cat([pool(0.3, 0.05, 63), torch.tensor([0.9])]), 0.8, pool(0.5, 0.1), 0.9)
    assert (found.verdict, found.reach) == ("optimise", "yes")


def test_a_pool_within_reach_is_worth_gradient_steps() -> None:
    found = diagnose(pool(0.3, 0.1), 0.8, pool(0.4, 0.1), 0.9)
    assert (found.verdict, found.reach, found.accepted) == ("optimise", "more search", 0)
    assert found.distance == pytest.approx(5, abs=0.01)
    assert "5.0 and 5.0 of its deviations" in found.words


def test_a_pool_far_from_the_references_is_hopeless() -> None:
    found = diagnose(pool(0.1, 0.05), 0.8, pool(0.0, 0.1), 0.9)
    assert (found.verdict, found.reach, found.break_even) == ("no", "no", 0)
    assert found.distance > FAR
    assert "no seed of this model will do" in found.words


def test_a_pool_without_spread_or_of_one_seed_is_judged_all_the_same() -> None:
    assert diagnose(torch.full((8,), 0.1), 0.8, torch.full((8,), 0.1), 0.9).verdict == "no"
    assert diagnose(torch.tensor([0.9]), 0.8, torch.tensor([0.9]), 0.9).verdict == "more search"


def test_the_break_even_is_what_fine_tuning_costs_over_what_each_image_saves() -> None:
    found = diagnose(torch.cat([pool(0.3, 0.05, 56), pool(0.9, 0.01, 8)]), 0.8, pool(0.5, 0.2), 0.9)
    assert found.break_even == pytest.approx(60 / 7)
