"""The guard's threshold and the copy check, without any network: the embedding is the mean colour."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seedbank.selection.guard import make_guard
from seedbank.selection.reach import far_limit, reach


def colour(images: Tensor) -> Tensor:
    return F.normalize(images.mean((2, 3)), dim=1)


def textured(seed: int, red: float, green: float, blue: float, count: int = 5) -> Tensor:
    noise = torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    tint = torch.tensor([red, green, blue])[:, None, None]
    return (noise * tint + 0.02 * torch.randn(count, 3, 1, 1, generator=torch.Generator().manual_seed(seed))).clamp(
        0, 1
    )


def test_what_is_like_the_references_passes_and_another_thing_does_not() -> None:
    guard = make_guard(textured(0, 1, 0.2, 0.2), colour, slack=2)
    assert (guard.similarity(textured(1, 1, 0.2, 0.2)) >= guard.threshold).float().mean() >= 0.8
    assert (guard.similarity(textured(1, 0.2, 0.2, 1)) < guard.threshold).all()


def test_slack_lowers_the_threshold() -> None:
    photos = textured(0, 1, 0.2, 0.2)
    assert make_guard(photos, colour, slack=2).threshold < make_guard(photos, colour, slack=0).threshold


def test_one_reference_makes_a_guard_that_only_its_like_passes() -> None:
    guard = make_guard(textured(0, 1, 0.2, 0.2, count=1), colour)
    assert guard.threshold == pytest.approx(1 - 3 * 0.03)
    assert guard.copy_limit == 0.95
    assert (guard.similarity(textured(1, 1, 0.2, 0.2)) >= guard.threshold).all()
    assert (guard.similarity(textured(1, 0.2, 0.2, 1)) < guard.threshold).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image.flip(-1),
        lambda image: 0.5 * image + 0.2,
        lambda image: image + 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(9)),
    ],
    ids=["itself", "mirrored", "paler", "noisier"],
)
def test_a_copy_is_found(change: object) -> None:
    assert callable(change)
    photos = textured(0, 1, 0.2, 0.2)
    guard = make_guard(photos, colour)
    assert guard.copy_score(change(photos[2:3])) >= guard.copy_limit


def test_a_new_picture_is_no_copy() -> None:
    guard = make_guard(textured(0, 1, 0.2, 0.2), colour)
    assert (guard.copy_score(textured(1, 1, 0.2, 0.2)) < guard.copy_limit).all()


def test_references_that_are_alike_raise_the_copy_limit() -> None:
    photos = textured(0, 1, 0.2, 0.2)
    twins = torch.cat([photos, photos[:1] * 0.9])
    assert make_guard(twins, colour).copy_limit > 0.99


def test_reach_has_three_answers() -> None:
    guard = make_guard(textured(0, 1, 0.2, 0.2), colour)
    assert reach(guard.threshold, guard) == "yes"
    assert reach(guard.threshold - 0.01, guard) == "more search"
    assert reach(far_limit(guard) - 0.01, guard) == "no"
