"""Targets, terms, and how their gradients are balanced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.judging.targets import (
    Targets,
    failure_centroids,
    leave_one_out,
    make_targets,
    nearness,
    stack_images,
)
from seedbank.selection.search.cutouts import Cutout, crop, random_cutouts
from seedbank.selection.search.objective import Contrastive, LowFrequency, Objective, Samples, Semantic


def units(*rows: tuple[float, ...]) -> Tensor:
    return F.normalize(torch.tensor(rows).float(), dim=1)


def test_nearness_to_one_prototype_is_the_cosine() -> None:
    seen, prototype = units((1, 2, 3), (0, 1, 0)), units((1, 0, 1))
    torch.testing.assert_close(nearness(seen, prototype), (seen @ prototype.T).flatten())


def test_nearness_prefers_a_prototype_over_the_void_between_two() -> None:
    prototypes = units((1, 0, 0), (0, 1, 0))
    on_one, between = nearness(units((1, 0, 0), (1, 1, 0)), prototypes)
    assert on_one == pytest.approx(0.5 * 0.5**0.5 + 0.5 * (1 - 0.05 * 0.6931), abs=1e-4)
    assert between == pytest.approx(0.5 + 0.5 * 0.5**0.5, abs=1e-4)


def test_a_stranger_among_the_references_is_far_from_the_others() -> None:
    near = leave_one_out(units((1, 0.1, 0), (1, 0, 0.1), (1, 0.1, 0.1), (-1, 0, 0)))
    assert int(near.argmin()) == 3
    assert near[3] < 0
    assert leave_one_out(units((1, 0))).tolist() == [1]


def test_photos_of_any_kind_become_rgb_squares() -> None:
    odd = [
        Image.new("L", (40, 20), 255),
        Image.new("CMYK", (16, 30)),
        Image.new("RGBA", (20, 20), (0, 0, 0, 0)),
        Image.new("I;16", (20, 20)),
        Image.new("P", (9, 9)),
    ]
    stacked = stack_images(odd, 16, 16)
    assert stacked.shape == (5, 3, 16, 16)
    assert stacked[2].min() == 1  # what is transparent is white
    assert 0 <= stacked.min() <= stacked.max() <= 1


def test_sixteen_bits_keep_their_greys() -> None:
    greys = Image.fromarray(np.full((16, 16), 0x8080, np.uint16))
    assert greys.mode == "I;16"
    assert stack_images([greys], 16, 16).unique().tolist() == pytest.approx([0x80 / 255])


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_photos_of_unknown_range_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match="expected a photo of 8 or 16 bits a channel, got one in mode 'F'"):
        stack_images([Image.fromarray(np.full((8, 8), value, np.float32))], 16, 16)


def test_photos_are_turned_upright() -> None:
    half = Image.new("RGB", (16, 16))
    half.paste((255, 255, 255), (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    half.getexif().update(exif)
    top = stack_images([half], 16, 16)[0, :, :8]
    assert top.max() == 0


def test_no_photos_are_refused() -> None:
    with pytest.raises(UsageError, match="expected at least one reference photo, got none"):
        stack_images([], 16, 16)


@pytest.fixture(scope="module")
def family(pipeline: Any) -> Any:
    from seedbank.selection.sampling.families import adapt

    return adapt(pipeline)


@pytest.fixture(scope="module")
def targets(family: Any, encoder: Any, photos: Any) -> Targets:
    return make_targets(stack_images(photos, 16, 16), encoder, family)


def test_the_references_own_latents_are_the_best_there_can_be(family: Any, encoder: Any, targets: Targets) -> None:
    own = Samples([targets.latents], family.decode, encoder)
    other = Samples([torch.randn_like(targets.latents)], family.decode, encoder)
    assert Semantic(targets)(own).mean() < Semantic(targets)(other).mean()
    assert LowFrequency(targets)(own).max() < LowFrequency(targets)(other).min()


def test_appearance_ignores_fine_detail(family: Any, encoder: Any, targets: Targets) -> None:
    detail = torch.tensor([[1.0, -1], [-1, 1]]).repeat(4, 4) * 0.5
    samples = Samples([targets.latents + detail], family.decode, encoder)
    plain = Samples([targets.latents], family.decode, encoder)
    torch.testing.assert_close(LowFrequency(targets)(samples), LowFrequency(targets)(plain), atol=1e-5, rtol=1e-5)


def test_clamped_pixels_keep_their_gradient(encoder: Any) -> None:
    latents = torch.full((1, 3, 16, 16), 5.0, requires_grad=True)
    samples = Samples([latents], lambda values: values, encoder)
    assert samples.images.max() == 1
    (gradient,) = torch.autograd.grad(samples.images.sum(), latents)
    assert torch.equal(gradient, torch.ones_like(gradient))


@dataclass(frozen=True)
class Pull:
    """A term with a known constant gradient."""

    direction: Tensor
    weight: float = 1.0
    name: str = "semantic"

    def __call__(self, samples: Samples) -> Tensor:
        return (samples.latents * self.direction).sum((1, 2, 3))


def test_no_term_pulls_harder_than_the_first(family: Any, encoder: Any) -> None:
    right, up = torch.zeros(4, 8, 8), torch.zeros(4, 8, 8)
    right[0, 0, 0], up[0, 1, 1] = 1.0, 100.0
    latents = torch.randn(2, 4, 8, 8)
    balanced = Objective((Pull(right), Pull(up, 0.5, "appearance")), family.decode, encoder).evaluate([latents])
    torch.testing.assert_close(balanced.cotangents[0], (right + up / 100).expand(2, 4, 8, 8))

    weak = Objective((Pull(right), Pull(up, 0.001, "appearance")), family.decode, encoder).evaluate([latents])
    torch.testing.assert_close(weak.cotangents[0], (right + 0.001 * up).expand(2, 4, 8, 8))

    plain = Objective((Pull(right), Pull(up, 0.5, "appearance")), family.decode, encoder, balanced=False)
    torch.testing.assert_close(plain.evaluate([latents]).cotangents[0], (right + 0.5 * up).expand(2, 4, 8, 8))


def test_the_sum_is_weighted_and_the_parts_are_not(family: Any, encoder: Any, targets: Targets) -> None:
    objective = Objective((Semantic(targets), LowFrequency(targets, 0.3)), family.decode, encoder)
    found = objective.score(torch.randn(2, 4, 8, 8))
    torch.testing.assert_close(found.objective, found.terms["semantic"] + 0.3 * found.terms["appearance"])
    assert found.cotangents == ()


def aimed(*rows: tuple[float, ...]) -> Targets:
    prototypes = units(*rows)
    return Targets(prototypes, F.normalize(prototypes.mean(0), dim=0), torch.zeros(len(rows), 4, 2, 2))


def test_the_contrast_is_high_at_a_failure_and_gone_at_the_references() -> None:
    term = Contrastive(aimed((1, 0, 0), (1, 0.1, 0)), failures=units((0, 1, 0)))
    at = [float(term(_Seen(units(place)))) for place in ((0, 1, 0), (1, 1, 0), (1, 0, 0))]
    assert at[0] > 5 > at[1] > 0.2 > at[2] > 0
    expected = -torch.log_softmax(torch.tensor([float(units((1, 1, 0)) @ term.targets.centroid), 0.5**0.5]) / 0.07, 0)[
        0
    ]
    assert at[1] == pytest.approx(float(expected), rel=1e-4)


class _Seen(Samples):
    """A samples whose embeddings are given."""

    def __init__(self, embeddings: Tensor) -> None:
        self.__dict__["embeddings"] = embeddings


def test_failures_are_the_worse_half_gathered_and_nothing_that_is_like_the_references() -> None:
    targets = aimed((1, 0, 0), (1, 0.2, 0), (1, 0, 0.2))
    wrong = [(0, 1, 0.01 * k) for k in range(6)] + [(0, 0.01 * k, 1) for k in range(6)]
    found = failure_centroids(units(*wrong, *[(1, 0.05, 0.01 * k) for k in range(12)]), targets, most=2)
    assert sorted(int(row.argmax()) for row in found) == [1, 2]
    assert not len(failure_centroids(units(*[(1, 0.05, 0.01 * k) for k in range(12)]), targets))
    assert not len(failure_centroids(units((0, 1, 0)), targets))


def test_three_references_say_how_much_semantic_loss_is_theirs_and_two_do_not() -> None:
    assert aimed((1, 0, 0), (0.9, 0.2, 0), (0, 1, 0)).semantic_limit == pytest.approx(
        1 - float(leave_one_out(units((1, 0, 0), (0.9, 0.2, 0), (0, 1, 0))).mean())
    )
    assert aimed((1, 0, 0), (0, 1, 0)).semantic_limit == float("inf")


def test_cutouts_repeat_from_their_name_and_stay_inside() -> None:
    chosen = random_cutouts("0", "views 3", 50, smallest=0.7)
    assert (
        chosen == random_cutouts("0", "views 3", 50, smallest=0.7) != random_cutouts("0", "views 4", 50, smallest=0.7)
    )
    images = torch.rand(2, 3, 20, 20)
    assert all(0.7 <= cutout.side <= 1 and crop(images, cutout).shape == images.shape for cutout in chosen)
    torch.testing.assert_close(crop(images, Cutout(1.0, 0.0, 0.0)), images)


def test_cutouts_change_the_gradient_and_not_the_values(pipeline: Any, photos: Any, encoder: Any) -> None:
    from seedbank.selection.sampling.families import adapt

    family = adapt(pipeline)
    targets = make_targets(stack_images(photos, 16, 16), encoder, family)
    objective = Objective((Semantic(targets), LowFrequency(targets)), family.decode, encoder)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = objective.evaluate([latents])
    seen = objective.evaluate([latents], random_cutouts("0", "v", 3, smallest=0.5))
    torch.testing.assert_close(seen.objective, whole.objective)
    assert not torch.allclose(seen.cotangents[0], whole.cotangents[0], rtol=1e-3)
    full = objective.evaluate([latents], [Cutout(1.0, 0.0, 0.0)])
    torch.testing.assert_close(full.cotangents[0], whole.cotangents[0], rtol=1e-3, atol=1e-6)
