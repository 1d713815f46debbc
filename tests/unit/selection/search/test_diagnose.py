"""What a pool of plain seeds says, on pools made to be each kind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seedbank.selection.judging.acceptance import Acceptance
from seedbank.selection.judging.guard import Guard
from seedbank.selection.judging.targets import Targets, leave_one_out
from seedbank.selection.search.diagnose import (
    GAP_LIMIT,
    NAME_WEIGHT,
    Diagnosis,
    PoolNearness,
    diagnose,
    diagnose_nearness,
)
from seedbank.selection.search.name_effect import probability_of_superiority

REFERENCES = 0.9
"""Nearness of the references to each other, under either judge; 0.8 is acceptable to the guard."""


def pool(mean: float, spread: float, count: int = 64, *, seed: int = 0) -> Tensor:
    noise = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    return mean + spread * (noise - noise.mean()) / noise.std()


def ask(guard: Tensor, encoder: Tensor) -> Diagnosis:
    return diagnose_nearness(
        guard=PoolNearness(guard, REFERENCES),
        encoder=PoolNearness(encoder, REFERENCES),
        accepted=int((guard >= 0.8).sum()),
        needed=0.8,
    )


def test_where_plain_seeds_are_often_right_more_of_them_are_enough() -> None:
    found = ask(torch.cat([pool(0.3, 0.05, 54), pool(0.9, 0.01, 10)]), pool(0.5, 0.2))
    assert (found.recommendation, found.reachability, found.accepted) == ("sample", "plain", 10)
    assert found.plain_samples_each == pytest.approx(6.4)
    assert found.low < 10 / 64 < found.high
    assert "10 of 64 plain seeds are acceptable" in found.summary
    assert "drawing about 6 plain seeds gives one acceptable image" in found.summary


def test_where_one_in_many_is_right_optimising_is_cheaper() -> None:
    found = ask(torch.cat([pool(0.3, 0.05, 63), torch.tensor([0.9])]), pool(0.5, 0.1))
    assert (found.recommendation, found.reachability) == ("optimise", "plain")


class Eye:
    """An encoder for which an image is its own embedding."""

    size = 1

    def __call__(self, images: Tensor) -> Tensor:
        return images

    def features(self, images: Tensor) -> Tensor:
        return images


def directions(*angles: float) -> Tensor:
    turned = torch.tensor(angles)
    return torch.stack([turned.cos(), turned.sin()], 1)


def test_what_only_the_guard_accepts_is_not_acceptable() -> None:
    """A pool whose guard lets some pass, none of them near by the encoder: drawing more of them would end in rejected images."""
    references = directions(-0.3, -0.1, 0.1, 0.3)
    near = leave_one_out(references)
    guard = Guard(Eye(), references, near, 0.9, torch.zeros(1, 1), 1.0)
    targets = Targets(references, directions(0.0)[0], torch.zeros(4, 1, 1, 1))
    acceptance = Acceptance(guard, targets, Eye(), targets.semantic_limit)
    some, none = torch.cat([directions(*[0.0] * 10), directions(*[3.0] * 54)]), directions(*[3.0] * 64)
    found = diagnose(acceptance, guard_embeddings=some, embeddings=some)
    assert (found.recommendation, found.accepted, found.seeds, found.needed) == ("sample", 10, 64, 0.9)
    assert diagnose(acceptance, guard_embeddings=some, embeddings=none).accepted == 0
    assert diagnose(acceptance, guard_embeddings=none, embeddings=some).accepted == 0


def test_the_interval_is_wilsons() -> None:
    """Table I of Newcombe 1998 (Statistics in Medicine 17): 0 of 20 and 1 of 29."""
    none = ask(pool(0.3, 0.05, 20), pool(0.5, 0.1, 20))
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=5e-5)
    one = ask(torch.cat([pool(0.3, 0.05, 28), torch.tensor([0.9])]), pool(0.5, 0.1, 29))
    assert (one.low, one.high) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def reaching(best: float, count: int = 128) -> Tensor:
    """Seeds at 0.1 under a judge, one in 32 at ``best``, but at least four: the way from their mean to the references is about 0.8."""
    few = max(4, count // 32)
    return torch.cat([torch.full((count - few,), 0.1), torch.full((few,), best)])


def test_a_pool_whose_best_go_half_the_way_is_worth_gradient_steps() -> None:
    found = ask(reaching(0.5), reaching(0.5))
    assert (found.recommendation, found.reachability, found.accepted) == ("optimise", "optimised", 0)
    assert found.gap == pytest.approx(0.4 / 0.7875)
    assert "the best leave 51% of the gap" in found.summary


def test_a_pool_whose_best_stay_behind_is_hopeless() -> None:
    found = ask(reaching(0.2), reaching(0.2))
    assert (found.recommendation, found.reachability, found.break_even) == ("unreachable", "unreachable", 0)
    assert found.gap > found.gap_limit == GAP_LIMIT
    assert "gradient steps close at most 65%, so no seed of this model draws the concept" in found.summary


def test_what_is_near_under_one_judge_only_leaves_all_of_the_way_under_the_other() -> None:
    """The encoder's best are asked about under the guard, whose own best are others."""
    found = ask(reaching(0.7).flip(0), reaching(0.4))
    assert found.guard_gap > 1
    assert found.encoder_gap < GAP_LIMIT < found.gap
    assert found.recommendation == "unreachable"
    assert ask(reaching(0.7), reaching(0.4)).recommendation == "optimise"


@pytest.mark.parametrize(("count", "recommendation"), [(128, "unreachable"), (256, "unreachable"), (64, "optimise")])
def test_fewer_seeds_reach_less_far_and_say_no_less_soon(count: int, recommendation: str) -> None:
    found = ask(reaching(0.33, count), reaching(0.33, count))
    assert 0.65 < found.gap < 0.82
    assert found.recommendation == recommendation


@pytest.mark.parametrize(("effect", "recommendation"), [(0.5, "unreachable"), (0.7, "optimise"), (0.2, "unreachable")])
def test_the_effect_of_the_name_moves_the_limit(effect: float, recommendation: str) -> None:
    found = ask(reaching(0.33), reaching(0.33)).with_name_effect(effect)
    assert found.gap_limit == pytest.approx(GAP_LIMIT + NAME_WEIGHT * (effect - 0.5))
    assert (found.recommendation, found.name_effect) == (recommendation, effect)
    assert f"in {effect:.0%} of cases" in found.summary


def test_a_name_without_effect_does_not_take_back_what_the_pool_promises() -> None:
    assert ask(reaching(0.5), reaching(0.5)).with_name_effect(0.1).recommendation == "optimise"


@pytest.mark.parametrize(
    ("named", "unnamed", "share"),
    [([2.0, 3.0], [0.0, 1.0], 1.0), ([0.0], [1.0, 2.0], 0.0), ([1.0], [1.0], 0.5), ([0.0, 2.0], [1.0], 0.5)],
)
def test_superiority_counts_pairs_and_ties_half(named: list[float], unnamed: list[float], share: float) -> None:
    assert probability_of_superiority(torch.tensor(named), torch.tensor(unnamed)) == share


def test_a_pool_without_spread_or_of_one_seed_is_judged_all_the_same() -> None:
    assert ask(torch.full((128,), 0.1), torch.full((128,), 0.1)).recommendation == "unreachable"
    assert ask(torch.tensor([0.95]), torch.tensor([0.95])).recommendation == "sample"


def test_a_handful_of_seeds_has_a_best_half_and_does_not_say_no() -> None:
    few = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert ask(few, few).recommendation == "optimise"


def test_the_break_even_is_what_fine_tuning_costs_over_what_each_image_saves() -> None:
    found = ask(torch.cat([pool(0.3, 0.05, 56), pool(0.9, 0.01, 8)]), pool(0.5, 0.2))
    assert found.break_even == pytest.approx(60 / 7)
