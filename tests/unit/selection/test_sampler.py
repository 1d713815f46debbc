"""Our sampling loop is the pipeline's own, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from seedbank.errors import UsageError
from seedbank.selection.sampler import Sampler, from_pixels, make_sampler, to_pixels
from seedbank.trials import SamplerConfig

SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("epsilon", {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}),
    ("v_prediction", {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}),
    ("sample", {"set_alpha_to_one": True}),
    (
        "v_prediction",
        {"beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
    ),
]


@pytest.mark.parametrize("guidance", [1.0, 4.5])
@pytest.mark.parametrize(("prediction", "schedule"), SCHEDULES, ids=["epsilon", "v", "sample", "v zero-snr trailing"])
def test_same_noise_gives_the_pipelines_own_image(
    build_pipeline: Any, prediction: str, schedule: dict[str, Any], guidance: float
) -> None:
    pipeline = build_pipeline(prediction, **schedule)
    config = _config(steps=7, guidance=guidance)
    sampler = make_sampler(pipeline, "ab c", config)
    noise = torch.randn(2, *sampler.noise_shape, generator=torch.Generator().manual_seed(5))

    theirs = pipeline(
        "ab c",
        latents=noise.clone(),
        num_images_per_prompt=2,
        num_inference_steps=7,
        guidance_scale=guidance,
        height=16,
        width=16,
        output_type="np",
    ).images

    ours = to_pixels(sampler.family.decode(sampler.run(noise)).detach())
    assert np.array_equal(ours, (theirs * 255).round().astype(np.uint8))


def test_a_seed_is_drawn_alone_whatever_else_is_drawn(pipeline: Any, sampler_config: SamplerConfig) -> None:
    sampler = make_sampler(pipeline, "a", sampler_config)
    noise = torch.randn(3, *sampler.noise_shape)
    first = sampler.draw(noise[1])
    sampler.run(noise)
    assert np.array_equal(first, sampler.draw(noise[1]))
    assert np.array_equal(from_pixels(first[None]).permute(0, 2, 3, 1)[0].mul(255).round().numpy(), first)


def test_sampling_leaves_the_pipeline_as_it_was(pipeline: Any, sampler_config: SamplerConfig) -> None:
    before = pipeline.scheduler.num_inference_steps
    make_sampler(pipeline, "a", sampler_config)
    assert pipeline.scheduler.num_inference_steps == before


def test_another_scheduler_is_refused(build_pipeline: Any) -> None:
    pipeline = build_pipeline()
    pipeline.scheduler = EulerDiscreteScheduler()
    with pytest.raises(
        UsageError, match=r"expected a DDIMScheduler, got EulerDiscreteScheduler; set pipeline\.scheduler"
    ):
        make_sampler(pipeline, "a")


def test_clipping_is_refused(build_pipeline: Any) -> None:
    pipeline = build_pipeline()
    pipeline.scheduler = DDIMScheduler(clip_sample=True)
    with pytest.raises(UsageError, match="clipped samples have no gradient"):
        make_sampler(pipeline, "a")


def test_another_family_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a StableDiffusionPipeline, got a object"):
        make_sampler(object(), "a")


def test_a_size_that_does_not_fit_the_codec_is_refused(pipeline: Any) -> None:
    with pytest.raises(UsageError, match="multiples of 2, got 15x16"):
        make_sampler(pipeline, "a", _config().model_copy(update={"height": 15}))


def test_without_a_config_the_papers_steps_and_the_models_size_are_used(pipeline: Any) -> None:
    sampler: Sampler = make_sampler(pipeline, "a")
    assert (len(sampler.steps), sampler.config.guidance_scale, sampler.config.height) == (20, 7.5, 16)
    assert sampler.cost(3) == 3 * 2 * 20


def _config(steps: int = 4, guidance: float = 3.0) -> SamplerConfig:
    return SamplerConfig(
        scheduler="DDIMScheduler",
        num_inference_steps=steps,
        guidance_scale=guidance,
        height=16,
        width=16,
        dtype="float32",
    )
