"""The guard's threshold and the copy check, without any network: the embedding is the mean colour."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.judging.guard import DEPTH, LEAST_FAILURES, Guard, make_guard, spread, turned
from seedbank.selection.judging.targets import leave_one_out, nearness


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
        lambda image: image.rot90(1, (-2, -1)),
        lambda image: 0.5 * image + 0.2,
        lambda image: image + 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(9)),
    ],
    ids=["itself", "mirrored", "turned", "paler", "noisier"],
)
def test_a_copy_is_found(change: object) -> None:
    assert callable(change)
    photos = textured(0, 1, 0.2, 0.2)
    guard = make_guard(photos, colour)
    assert guard.copy_score(change(photos[2:3])) >= guard.copy_limit


def upper_left(images: Tensor) -> Tensor:
    """An embedding to which it matters how a picture lies."""
    half = images.shape[-1] // 2
    return F.normalize(images[..., :half, :half].mean((2, 3)), dim=1)


def test_a_turned_embedding_does_not_care_how_a_picture_lies() -> None:
    picture = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3)) ** 3
    quarter, half = picture.rot90(1, (-2, -1)), picture.rot90(2, (-2, -1))
    for turns, same in ((4, (True, True)), (2, (False, True)), (1, (False, False))):
        embed = turned(upper_left, turns)
        found = [torch.allclose(embed(other), embed(picture), atol=1e-6) for other in (quarter, half)]
        assert tuple(found) == same
        assert embed(picture).norm(dim=1).tolist() == pytest.approx([1, 1])


def test_a_picture_cannot_be_turned_three_times() -> None:
    with pytest.raises(UsageError, match="expected 1, 2 or 4 turns of an image, got 3"):
        turned(upper_left, 3)


def test_a_new_picture_is_no_copy() -> None:
    guard = make_guard(textured(0, 1, 0.2, 0.2), colour)
    assert (guard.copy_score(textured(1, 1, 0.2, 0.2)) < guard.copy_limit).all()


def test_references_that_are_alike_raise_the_copy_limit() -> None:
    photos = textured(0, 1, 0.2, 0.2)
    twins = torch.cat([photos, photos[:1] * 0.9])
    assert make_guard(twins, colour).copy_limit > 0.99


def grouped(seed: int, *centre: float, count: int, spread: float = 0.05) -> Tensor:
    noise = torch.randn(count, len(centre), generator=torch.Generator().manual_seed(seed))
    return F.normalize(torch.tensor(centre) + spread * noise, dim=1)


WANTED, INSTEAD = (1.0, 0.3, 0.0, 0.0), (1.0, -0.1, 0.2, 0.0)
"""Two things that are much alike: 0.89 by the cosine."""


def of(prototypes: Tensor) -> Guard:
    near = leave_one_out(prototypes)
    threshold = float(near.mean()) - 3 * spread(near)
    return Guard(lambda images: images, prototypes, near, threshold, torch.zeros(1, 1), 1.0)


def test_what_the_model_draws_instead_is_told_from_the_references_though_it_is_near_them() -> None:
    lenient = of(grouped(0, *WANTED, count=6, spread=0.1))
    instead, right = grouped(1, *INSTEAD, count=40), grouped(2, *WANTED, count=40)
    assert (lenient.judge(instead) >= lenient.threshold).float().mean() > 0.5
    strict = lenient.against(instead)
    assert strict.contrast is not None
    assert (strict.judge(instead) < strict.threshold).float().mean() > 0.95
    assert (strict.judge(right) >= strict.threshold).float().mean() > 0.9
    assert strict.contrast.side(lenient.prototypes).mean() == pytest.approx(1, abs=1e-4)


def test_a_pool_of_the_thing_itself_gives_no_contrast() -> None:
    guard = of(grouped(0, *WANTED, count=6))
    assert guard.against(grouped(1, *WANTED, count=40, spread=0.01)).contrast is None
    assert guard.against(grouped(1, *INSTEAD, count=LEAST_FAILURES - 1)).contrast is None


def test_on_the_references_side_nearness_that_suffices_is_what_it_was() -> None:
    guard = of(grouped(0, *WANTED, count=6))
    strict, right = guard.against(grouped(1, *INSTEAD, count=40)), grouped(2, *WANTED, count=40)
    assert strict.contrast is not None
    kept = (strict.contrast.side(right) >= 0) & (guard.judge(right) >= guard.threshold)
    assert kept.sum() > 10
    assert torch.equal(strict.judge(right)[kept], guard.judge(right)[kept])


@pytest.mark.parametrize("missing", [0.01, 0.2])
def test_what_falls_a_little_short_is_lifted_to_the_threshold_where_it_is_plainly_on_the_references_side(
    missing: float,
) -> None:
    guard = of(grouped(0, *WANTED, count=6))
    right = F.normalize(guard.prototypes.mean(0), dim=0)[None]
    bar = float(nearness(right, guard.prototypes)) + missing
    strict = replace(guard, threshold=bar).against(grouped(1, *INSTEAD, count=40))
    assert strict.contrast is not None
    assert strict.contrast.side(right) > 0.9
    assert bar <= float(strict.judge(right)) < bar + 1e-6


def test_nothing_is_lifted_that_is_not_half_way_to_the_references_mean() -> None:
    guard = of(grouped(0, *WANTED, count=6))
    strict = replace(guard, threshold=0.999).against(grouped(1, *INSTEAD, count=40))
    mixed = torch.lerp(torch.tensor(WANTED), torch.tensor(INSTEAD), torch.linspace(0, 0.6, 30)[:, None])
    between = F.normalize(mixed, dim=1)
    assert strict.contrast is not None
    side = strict.contrast.side(between)
    doubtful = (side > 0) & (side < 0.5)
    assert doubtful.sum() > 3
    assert torch.equal(strict.judge(between)[doubtful], guard.judge(between)[doubtful])
    assert (strict.judge(between)[side > 0.7] > guard.judge(between)[side > 0.7]).all()


def test_what_falls_far_short_stays_below_the_threshold_on_whichever_side_it_is() -> None:
    guard = of(grouped(0, *WANTED, count=6))
    right = F.normalize(guard.prototypes.mean(0), dim=0)[None]
    near = float(nearness(right, guard.prototypes))
    strict = replace(guard, threshold=near + 0.5).against(grouped(1, *INSTEAD, count=40))
    assert near < float(strict.judge(right)) <= near + DEPTH + 1e-6


def test_a_single_reference_can_have_a_contrast() -> None:
    strict = of(grouped(0, *WANTED, count=1)).against(grouped(1, *INSTEAD, count=40))
    assert strict.contrast is not None
    assert (strict.contrast.side(grouped(2, *WANTED, count=20)) > 0).float().mean() > 0.8
