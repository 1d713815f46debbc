"""Fine-tuning a copy: the loss on the references falls, the cost is counted, and the original keeps every weight."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from seedbank.errors import UsageError
from seedbank.evaluation.finetuning import (
    FineTuned,
    Training,
    _target,
    lora,
    reference_loss,
    shortened,
    textual_inversion,
)
from seedbank.selection.judging.targets import stack_images
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.sampler import make_sampler

FAST = Training(steps=12, batch=8, rate=0.03)
Tune = Callable[..., FineTuned]
both = pytest.mark.parametrize("tune", [textual_inversion, lora])


@pytest.fixture(scope="module")
def references(photos: Any) -> torch.Tensor:
    return stack_images(photos, 16, 16)


def weights(pipeline: Any) -> str:
    """A digest of every weight of a pipeline and of its tokenizer's size."""
    state = [part.state_dict() for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)]
    digest = hashlib.sha256(str(len(pipeline.tokenizer)).encode())
    for values in state:
        for name in sorted(values):
            digest.update(name.encode() + values[name].numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@both
def test_the_loss_falls_on_the_copy_and_the_original_stays(
    build_pipeline: Callable[..., Any], references: torch.Tensor, tune: Tune, prediction: str
) -> None:
    pipeline = build_pipeline(prediction)
    before, loss = weights(pipeline), reference_loss(pipeline, "a b", references)
    tuned = tune(pipeline, "a b", references, FAST)
    assert reference_loss(tuned.pipeline, tuned.prompt, references) < loss
    assert weights(pipeline) == before
    assert reference_loss(pipeline, "a b", references) == loss
    assert not any(part.requires_grad for part in tuned.pipeline.unet.parameters())


@both
def test_the_cost_is_three_evaluations_an_image(pipeline: Any, references: torch.Tensor, tune: Tune) -> None:
    tuned = tune(pipeline, "a b", references, replace(FAST, steps=3))
    assert (len(tuned.losses), tuned.network_evaluations) == (3, 3 * 3 * 8)
    assert tuned.seconds > 0
    left = [50]

    def affords(cost: int) -> bool:
        left[0] -= cost
        return left[0] >= 0

    assert len(tune(pipeline, "a b", references, FAST, affords=affords).losses) == 2
    assert shortened(FAST, 100).steps == 4
    assert shortened(FAST, 10**9) == FAST


@both
def test_the_same_seed_trains_the_same_copy(pipeline: Any, references: torch.Tensor, tune: Tune) -> None:
    few = replace(FAST, steps=2)
    one, two, other = (tune(pipeline, "a b", references, replace(few, seed=seed)) for seed in ("0", "0", "1"))
    assert weights(one.pipeline) == weights(two.pipeline) != weights(other.pipeline)
    assert one.losses == two.losses


@both
def test_our_sampler_draws_with_the_copy(
    pipeline: Any, references: torch.Tensor, tune: Tune, sampler_config: SamplerConfig
) -> None:
    tuned = tune(pipeline, "a b", references, replace(FAST, steps=2))
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    ours = make_sampler(tuned.pipeline, tuned.prompt, sampler_config).draw(noise)
    plain = make_sampler(pipeline, "a b", sampler_config).draw(noise)
    assert ours.shape == plain.shape
    assert (ours != plain).any()


def test_an_untrained_copy_draws_what_the_original_draws(
    pipeline: Any, references: torch.Tensor, sampler_config: SamplerConfig
) -> None:
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = make_sampler(pipeline, "a b", sampler_config).draw(noise)
    for tune in (textual_inversion, lora):
        tuned = tune(pipeline, "a b", references, replace(FAST, steps=0))
        assert (make_sampler(tuned.pipeline, tuned.prompt, sampler_config).draw(noise) == plain).all()


def test_only_the_new_word_is_learnt(pipeline: Any, references: torch.Tensor) -> None:
    tuned = textual_inversion(pipeline, "a b", references, replace(FAST, steps=2))
    old = pipeline.text_encoder.get_input_embeddings().weight
    new = tuned.pipeline.text_encoder.get_input_embeddings().weight
    assert tuned.prompt == "a <concept>"
    assert len(new) == len(old) + 1
    assert torch.equal(new[:-1], old)
    assert tuned.pipeline.unet is pipeline.unet


def test_words_that_cannot_be_learnt_are_refused(pipeline: Any, references: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="a word of the prompt 'a b' to replace, got 'c'"):
        textual_inversion(pipeline, "a b", references, FAST, word="c")
    tuned = textual_inversion(pipeline, "a b", references, replace(FAST, steps=1))
    with pytest.raises(UsageError, match="a tokenizer without '<concept>', got one that was inverted already"):
        textual_inversion(tuned.pipeline, "a b", references, FAST)


@pytest.mark.parametrize("alpha", [0.1, 0.9])
def test_a_perfect_answer_gives_back_the_clean_sample(alpha: float) -> None:
    clean, noise, share = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2), torch.tensor(alpha)
    noised = share.sqrt() * clean + (1 - share).sqrt() * noise
    by_noise = (noised - (1 - share).sqrt() * _target("epsilon", clean, noise, share)) / share.sqrt()
    by_velocity = share.sqrt() * noised - (1 - share).sqrt() * _target("v_prediction", clean, noise, share)
    torch.testing.assert_close(by_noise, clean)
    torch.testing.assert_close(by_velocity, clean)
    assert _target("sample", clean, noise, share) is clean
