"""The one rule, without any network: the guard sees the mean colour, the encoder the two halves of an image."""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seedbank.selection import BALANCED, SEEDSELECT_V1
from seedbank.selection.judging.acceptance import ROUNDING, Acceptance, make_acceptance
from seedbank.selection.judging.guard import Contrast, make_guard
from seedbank.selection.judging.targets import Targets, stack_images
from seedbank.selection.sampling.families import Family, adapt


def colour(images: Tensor) -> Tensor:
    return F.normalize(images.mean((2, 3)), dim=1)


class Halves:
    """Upper and lower half."""

    size = 32

    def __call__(self, images: Tensor) -> Tensor:
        return F.normalize(self.features(images), dim=1)

    def features(self, images: Tensor) -> Tensor:
        return torch.stack([images[:, :, :16].mean((1, 2, 3)), images[:, :, 16:].mean((1, 2, 3))], 1)


def images(seed: int, red: float = 1.0, blue: float = 0.2, *, upper: float = 1.0, lower: float = 1.0) -> Tensor:
    """Four noisy images of one tint, each half as bright as asked."""
    noise = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
    bright = torch.cat([torch.full((16, 1), upper), torch.full((16, 1), lower)])
    tint = torch.tensor([red, 0.2, blue])[:, None, None]
    jitter = torch.linspace(0.9, 1.1, 4)[:, None, None, None] * torch.tensor([1.0, 1.0, 0.9])[:, None, None]
    return (noise * tint * bright * jitter).clamp(0, 1)


REFERENCES = images(0)


@pytest.fixture(scope="module")
def rule() -> Acceptance:
    embeddings = Halves()(REFERENCES)
    targets = Targets(embeddings, F.normalize(embeddings.mean(0), dim=0), torch.zeros(4, 1, 1, 1))
    return Acceptance(make_guard(REFERENCES, colour, turns=1), targets, Halves(), semantic_limit=0.01)


def test_what_breaks_no_rule_is_accepted_with_its_numbers(rule: Acceptance) -> None:
    for found in rule.judge(images(1)):
        assert (found.accepted, found.refusals) == (True, ())
        assert found.explanation == f"accepted: nearness {found.guard:.3f} >= {rule.guard.threshold:.3f}"
        assert found.guard_embedding.shape == (3,)


@pytest.mark.parametrize(
    ("drawn", "changes", "refusal"),
    [
        (images(1, red=0.2, blue=1.0), {}, r"rejected: nearness 0\.\d+ < 0\.\d+$"),
        (images(1, lower=0.1), {}, r"rejected: semantic loss 0\.\d+ > 0\.010, the references' own mean$"),
        (REFERENCES, {}, r"rejected: too like a reference \(correlation 1\.00 >= 0\.95\)$"),
        (images(1), {"margin": 0.5}, r"rejected: nearness [01]\.\d+ < 1\.\d+$"),
    ],
    ids=["guard", "semantic", "copy", "margin"],
)
def test_each_rule_refuses_alone_and_says_why(
    rule: Acceptance, drawn: Tensor, changes: dict[str, Any], refusal: str
) -> None:
    for found in replace(rule, **changes).judge(drawn):
        assert not found.accepted
        assert len(found.refusals) == 1
        assert re.fullmatch(refusal, found.explanation)


def test_on_the_failures_side_an_image_is_refused_for_that_alone(rule: Acceptance) -> None:
    blue = Contrast(torch.tensor([1.0, 0.0, -1.0]), 0.0, failures=9)
    contrasted = replace(rule, guard=replace(rule.guard, contrast=blue, threshold=-1.0), semantic_limit=inf)
    found = contrasted.judge(images(1, red=0.2, blue=1.0))
    assert {each.explanation for each in found} == {"rejected: nearer to what plain seeds draw than to the references"}
    assert max(each.guard for each in found) < contrasted.needed


def test_no_image_may_be_further_from_the_references_than_its_start(rule: Acceptance) -> None:
    drawn = images(1)
    near = [found.guard for found in rule.judge(drawn)]
    assert all(found.accepted for found in rule.judge(drawn, starts=[each + 0.9 * ROUNDING for each in near]))
    refused = rule.judge(drawn, starts=[each + 0.1 for each in near])
    assert refused[0].explanation == f"rejected: nearness {near[0]:.3f} is below its start's {near[0] + 0.1:.3f}"
    assert not any(found.accepted for found in refused)


def test_every_broken_rule_is_named(rule: Acceptance) -> None:
    (found, *_) = rule.judge(images(1, red=0.2, blue=1.0, lower=0.1), starts=[1.0] * 4)
    assert [refusal.split()[1] for refusal in found.refusals] == ["nearness", "semantic", "nearness"]
    assert found.explanation.count("; ") == 2


def test_a_pool_is_judged_by_its_embeddings_as_its_images_are(rule: Acceptance) -> None:
    pool = torch.cat([images(1), images(2, red=0.2, blue=1.0), images(3, lower=0.1)])
    acceptable = rule.acceptable(rule.guard.embed(pool), rule.encoder(pool))
    assert acceptable.tolist() == [found.accepted for found in rule.judge(pool)]
    assert acceptable.sum() == 4


@pytest.fixture(scope="module")
def family(pipeline: Any) -> Family:
    return adapt(pipeline)


def test_a_recipe_decides_what_is_asked(family: Family, encoder: Any, guard: Any, photos: Any) -> None:
    """Slack and turns of the guard, the codec before the encoder, and no semantic limit for the paper's losses."""
    references = stack_images(photos, 16, 16)

    def made(recipe: Any, **options: Any) -> Acceptance:
        return make_acceptance(references, family, encoder=encoder, guard_encoder=guard, criteria=recipe, **options)

    usual = made(BALANCED)
    assert usual.semantic_limit == usual.targets.semantic_limit < inf
    assert usual.needed == usual.guard.threshold
    assert made(replace(BALANCED, guard_slack=9.0)).needed < usual.needed
    assert not torch.equal(made(replace(BALANCED, guard_turns=1)).guard.prototypes, usual.guard.prototypes)
    raw = made(replace(BALANCED, match_codec=False))
    assert not torch.allclose(raw.targets.prototypes, usual.targets.prototypes)
    assert torch.equal(raw.guard.prototypes, usual.guard.prototypes)
    paper = made(SEEDSELECT_V1)
    assert paper.semantic_limit == inf
    assert torch.equal(paper.targets.prototypes, raw.targets.prototypes)


def test_two_references_set_no_semantic_limit(family: Family, encoder: Any, guard: Any, photos: Any) -> None:
    pair = stack_images(photos[:2], 16, 16)
    assert make_acceptance(pair, family, encoder=encoder, guard_encoder=guard, criteria=BALANCED).semantic_limit == inf


def test_what_plain_seeds_draw_makes_the_contrast(family: Family, encoder: Any, guard: Any, photos: Any) -> None:
    references = stack_images(photos, 16, 16)
    rule = make_acceptance(references, family, encoder=encoder, guard_encoder=guard, criteria=BALANCED)
    plain = rule.guard.embed(torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    known = make_acceptance(references, family, encoder=encoder, guard_encoder=guard, criteria=BALANCED, plain=plain)
    assert rule.guard.contrast is None
    assert known.guard.contrast is not None
    assert torch.equal(known.guard.contrast.direction, rule.against(plain).guard.contrast.direction)  # type: ignore[union-attr]
