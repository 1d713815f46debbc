"""Our sampling loop is the pipeline's own, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
)
from torch import Tensor

from seedbank.errors import OutOfMemory, UsageError
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.families import Family, adapt, pipeline_latents
from seedbank.selection.sampling.noise import plain_seed, stacked
from seedbank.selection.sampling.sampler import Sampler, State, from_pixels, make_sampler, to_pixels
from support import pipelines as tiny
from support.tolerance import close, same_pixels, tolerance

SD = {"steps_offset": 1, **tiny.BETAS}
TRAILING = {"timestep_spacing": "trailing", **SD}
V = {"prediction_type": "v_prediction", **SD}
ZERO_SNR = {"beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
FLOW_DPM = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}

Build = Callable[..., Any]
SIZE = {"height": 16, "width": 16}
BUILDS: dict[str, Build] = {
    "sd": tiny.stable_diffusion,
    "lcm": lambda: tiny.stable_diffusion(LCMScheduler(**SD), consistency=True),
    "sdxl": tiny.sdxl,
    "sd3": tiny.sd3,
    "flux": tiny.flux,
}
CASES: list[tuple[str, Build, Any, float]] = [
    ("sd DDIM", tiny.stable_diffusion, DDIMScheduler(clip_sample=False, **SD), 4.5),
    ("sd DDIM unguided", tiny.stable_diffusion, DDIMScheduler(clip_sample=False, **SD), 1.0),
    ("sd DDIM v", tiny.stable_diffusion, DDIMScheduler(clip_sample=False, **V), 4.5),
    ("sd DDIM x", tiny.stable_diffusion, DDIMScheduler(clip_sample=False, prediction_type="sample", **SD), 4.5),
    (
        "sd DDIM zero snr",
        tiny.stable_diffusion,
        DDIMScheduler(clip_sample=False, prediction_type="v_prediction", steps_offset=1, **ZERO_SNR),
        4.5,
    ),
    ("sd Euler", tiny.stable_diffusion, EulerDiscreteScheduler(**SD), 4.5),
    ("sd Euler leading v", tiny.stable_diffusion, EulerDiscreteScheduler(timestep_spacing="leading", **V), 4.5),
    ("sd Euler x", tiny.stable_diffusion, EulerDiscreteScheduler(prediction_type="sample", **SD), 4.5),
    ("sd Euler karras", tiny.stable_diffusion, EulerDiscreteScheduler(use_karras_sigmas=True, **SD), 4.5),
    ("sd ancestral", tiny.stable_diffusion, EulerAncestralDiscreteScheduler(**SD), 4.5),
    ("sd ancestral v", tiny.stable_diffusion, EulerAncestralDiscreteScheduler(**V), 4.5),
    ("sd DPM++", tiny.stable_diffusion, DPMSolverMultistepScheduler(**SD), 4.5),
    ("sd DPM++ v", tiny.stable_diffusion, DPMSolverMultistepScheduler(**V), 4.5),
    ("sd DPM++ x", tiny.stable_diffusion, DPMSolverMultistepScheduler(prediction_type="sample", **SD), 4.5),
    ("sd DPM++ karras", tiny.stable_diffusion, DPMSolverMultistepScheduler(use_karras_sigmas=True, **SD), 4.5),
    ("sd DPM++ heun", tiny.stable_diffusion, DPMSolverMultistepScheduler(solver_type="heun", **SD), 4.5),
    ("sd DPM++ first", tiny.stable_diffusion, DPMSolverMultistepScheduler(solver_order=1, **SD), 4.5),
    (
        "sd DPM++ to the end",
        tiny.stable_diffusion,
        DPMSolverMultistepScheduler(lower_order_final=False, final_sigmas_type="sigma_min", **SD),
        4.5,
    ),
    ("sd LCM", tiny.stable_diffusion, LCMScheduler(**SD), 1.0),
    ("LCM", lambda s: tiny.stable_diffusion(s, consistency=True), LCMScheduler(**SD), 8.5),
    ("LCM v", lambda s: tiny.stable_diffusion(s, consistency=True), LCMScheduler(**V), 8.5),
    ("guidance as input", lambda s: tiny.stable_diffusion(s, guidance_input=8), EulerDiscreteScheduler(**SD), 3.0),
    ("SDXL Euler", tiny.sdxl, None, 5.0),
    ("SDXL DDIM", tiny.sdxl, DDIMScheduler(clip_sample=False, **SD), 5.0),
    ("SDXL DPM++", tiny.sdxl, DPMSolverMultistepScheduler(**SD), 5.0),
    ("SDXL LCM", tiny.sdxl, LCMScheduler(**SD), 1.0),
    ("SDXL-Turbo", tiny.sdxl, EulerAncestralDiscreteScheduler(**TRAILING), 0.0),
    ("SD-Turbo", tiny.stable_diffusion, EulerDiscreteScheduler(**TRAILING), 0.0),
    ("SD3", tiny.sd3, None, 7.0),
    ("SD3 shifted", tiny.sd3, FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), 7.0),
    ("SD3 DPM++", tiny.sd3, DPMSolverMultistepScheduler(**FLOW_DPM), 7.0),
    ("Flux dev", tiny.flux, None, 3.5),
    ("Flux schnell", lambda s: tiny.flux(s, guidance_input=False), None, 0.0),
]
ONE_STEP = ("SD-Turbo", "SDXL-Turbo", "LCM", "Flux schnell")


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_same_noise_gives_the_pipelines_own_latents(case: tuple[str, Build, Any, float]) -> None:
    name, build, scheduler, guidance = case
    pipeline = build(scheduler)
    for steps in (6, 1) if name in ONE_STEP else (6, 17) if "DPM" in name else (6,):
        sampler = make_sampler(pipeline, "ab c", _config(steps, guidance))
        noise = _noise(sampler)
        ours = sampler.denoise(noise, keys=["7", "8"])
        theirs = _theirs(pipeline, sampler, noise, "latent")
        close(ours, theirs, steps=steps)


@pytest.mark.parametrize("build", [tiny.stable_diffusion, tiny.sdxl, tiny.sd3, tiny.flux])
def test_same_noise_gives_the_pipelines_own_image(build: Build) -> None:
    pipeline = build()
    sampler = make_sampler(pipeline, "ab c", _config(4, 4.5))
    noise = _noise(sampler)
    theirs = _theirs(pipeline, sampler, noise, "np")
    same_pixels(to_pixels(sampler.family.decode(sampler.denoise(noise))), (theirs * 255).round().astype(np.uint8))


@pytest.mark.parametrize("build", [tiny.stable_diffusion, tiny.sdxl, tiny.sd3])
def test_a_negative_prompt_gives_the_pipelines_own_latents_and_other_ones_than_none(build: Build) -> None:
    pipeline, config = build(), _config(4, 4.5)
    without = make_sampler(pipeline, "ab c", config)
    sampler = make_sampler(pipeline, "ab c", config.model_copy(update={"negative_prompt": "dab"}))
    noise = _noise(sampler)
    ours = sampler.denoise(noise, keys=["7", "8"])
    close(ours, _theirs(pipeline, sampler, noise, "latent"), steps=4)
    assert float((without.denoise(noise, keys=["7", "8"]) - ours).abs().max()) > 2 * tolerance(ours, steps=4)


@pytest.mark.parametrize(("build", "guidance"), [(tiny.stable_diffusion, 1.0), (tiny.flux, 3.5)])
def test_a_negative_prompt_that_would_do_nothing_is_refused(build: Build, guidance: float) -> None:
    config = _config(4, guidance).model_copy(update={"negative_prompt": "dab"})
    with pytest.raises(UsageError, match="expected no negative prompt where nothing is guided by one, got 'dab'"):
        make_sampler(build(), "ab c", config)


@pytest.mark.parametrize(
    ("build", "guidance"),
    [
        (tiny.stable_diffusion, 4.0),
        (lambda: tiny.stable_diffusion(LCMScheduler(**SD), consistency=True), 4.0),
        (tiny.sdxl, 4.0),
        (tiny.sd3, 4.0),
        (tiny.flux, 4.0),
    ],
    ids=["sd", "lcm", "sdxl", "sd3", "flux"],
)
def test_the_comparison_would_see_another_guidance_or_prompt(build: Build, guidance: float) -> None:
    pipeline = build()
    usual = make_sampler(pipeline, "ab c", _config(4, guidance))
    noise = _noise(usual)
    latents = usual.denoise(noise)
    for other in (
        make_sampler(pipeline, "ab c", _config(4, guidance + 3)),
        make_sampler(pipeline, "abd", _config(4, guidance)),
    ):
        assert float((other.denoise(noise) - latents).abs().max()) > 2 * tolerance(latents, steps=4)


def test_sizes_are_inputs_of_sdxl() -> None:
    pipeline = tiny.sdxl()
    condition = make_sampler(pipeline, "a", _config().model_copy(update={"height": 32})).condition
    assert condition.extra["time_ids"].tolist() == [[32, 16, 0, 0, 32, 16]] * 2


@pytest.mark.parametrize("scheduler", [LCMScheduler(**SD), EulerAncestralDiscreteScheduler(**SD)], ids=["lcm", "euler"])
def test_fresh_noise_is_fixed_by_its_key_whatever_the_batch(scheduler: Any) -> None:
    sampler = make_sampler(tiny.stable_diffusion(scheduler), "ab", _config(5, 1.0))
    noise = _noise(sampler)
    both = sampler.denoise(noise, keys=["3", "4"])
    close(both[1:], sampler.denoise(noise[1:], keys=["4"]), steps=5)
    close(both[:1], sampler.finish(noise[:1], keys=["3"]), steps=5)
    assert not torch.allclose(both[1:], sampler.denoise(noise[1:], keys=["3"]))
    assert torch.equal(sampler.denoise(noise), sampler.denoise(noise))
    other = replace(sampler, config=sampler.config.model_copy(update={"noise_key": "9"}))
    close(other.denoise(noise), sampler.denoise(noise, keys=["9", "9"]), steps=5)


@pytest.mark.parametrize("scheduler", [EulerDiscreteScheduler(**SD), DPMSolverMultistepScheduler(**SD)])
def test_a_pass_begun_in_the_middle_goes_on(scheduler: Any) -> None:
    sampler = make_sampler(tiny.stable_diffusion(scheduler), "ab", _config(5))
    noise = _noise(sampler)
    state = sampler.initial_state(noise)
    with torch.no_grad():
        for index in range(len(sampler.steps)):
            state = sampler.denoise_step(state, index)
    close(state.latents, sampler.denoise(noise), steps=5)
    after = State(list(sampler.denoise_steps(noise))[1])
    with torch.no_grad():
        for index in range(2, len(sampler.steps)):
            after = sampler.denoise_step(after, index)
    if sampler.schedule.multistep:  # the x0 before it is not known, so it takes a first-order step there
        assert 0 < float((after.latents - state.latents).abs().max()) < 0.1 * float(state.latents.abs().max())
    else:
        close(after.latents, state.latents, steps=5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_noise_and_schedule_are_float32_whatever_the_network_is(dtype: torch.dtype) -> None:
    exact = make_sampler(tiny.stable_diffusion(EulerDiscreteScheduler(**SD)), "ab", _config())
    pipeline = tiny.stable_diffusion(EulerDiscreteScheduler(**SD)).to(dtype)
    sampler = make_sampler(pipeline, "ab", _config())
    noise = _noise(sampler)
    found = sampler.denoise(noise)
    assert found.dtype == sampler.family.decode(found).dtype == torch.float32
    assert sampler.family.dtype == dtype
    close(found, exact.denoise(noise), steps=4, dtype=dtype)


def test_a_vae_that_needs_float32_gets_it_and_the_pipeline_stays_as_it_was() -> None:
    pipeline = tiny.sdxl(force_upcast=True).to(torch.float16)
    exact = tiny.sdxl(force_upcast=True)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    found = adapt(pipeline).decode(latents)
    close(found, adapt(exact).decode(latents), dtype=torch.float16)  # of the weights, which were float16 once
    assert pipeline.vae.dtype == torch.float16


@pytest.mark.parametrize(
    "codec", [{}, {"latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1.0, 2.0, 3.0, 4.0]}], ids=["scale", "mean"]
)
def test_encoding_is_the_inverse_of_what_decoding_does_to_latents(codec: dict[str, Any]) -> None:
    family = adapt(tiny.sdxl(**codec))
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    raw = family.pipeline.vae.encode(2 * images - 1).latent_dist.mode()
    expected = family.pipeline.vae.decode(raw, return_dict=False)[0] / 2 + 0.5
    close(family.decode(family.encode(images)), expected, steps=2)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDIMScheduler"])
def test_the_config_names_the_scheduler(pipeline: Any, name: str) -> None:
    sampler = make_sampler(pipeline, "a", _config(6, scheduler=name))
    assert (sampler.config.scheduler, type(pipeline.scheduler).__name__) == (name, "DDIMScheduler")
    noise = _noise(sampler)
    usual = make_sampler(pipeline, "a", _config(6))
    assert usual.config.scheduler == "DDIMScheduler"
    assert torch.equal(usual.denoise(noise), sampler.denoise(noise)) == (name == "DDIMScheduler")


def test_a_scheduler_nobody_knows_is_refused(pipeline: Any) -> None:
    with pytest.raises(UsageError, match=r"expected one of DDIMScheduler, .* got HeunScheduler; name one of these"):
        make_sampler(pipeline, "a", _config(scheduler="HeunScheduler"))


def test_fewer_steps_over_the_same_noise(pipeline: Any, sampler_config: SamplerConfig) -> None:
    sampler = make_sampler(pipeline, "a", sampler_config)
    few = sampler.with_steps(2)
    assert (len(few.steps), few.config.num_inference_steps, few.cost(3)) == (2, 2, 3 * 2 * 2)
    direct = make_sampler(pipeline, "a", sampler_config.model_copy(update={"num_inference_steps": 2}))
    noise = _noise(sampler)
    assert torch.equal(few.denoise(noise), direct.denoise(noise))


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_a_find_is_drawn_by_the_stock_pipeline_in_three_lines(build: Build) -> None:
    pipeline = build()
    config = _config(4, 4.5)
    sampler = make_sampler(pipeline, "ab c", config)
    seed = plain_seed("0", 3, sampler.noise_shape)
    ours = sampler.draw(stacked([seed]))[0]

    latents = pipeline_latents(pipeline, seed)
    generator = torch.Generator().manual_seed(int(config.noise_key))
    image = pipeline(
        "ab c", latents=latents, generator=generator, num_inference_steps=4, guidance_scale=4.5, **SIZE
    ).images[0]

    same_pixels(np.asarray(image), ours)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_an_images_bytes_do_not_depend_on_what_is_drawn_with_it(build: Build, batch_size: int) -> None:
    config = _config(2).model_copy(update={"batch_size": batch_size})
    sampler = make_sampler(build(), "ab", config)
    noise = torch.randn(5, *sampler.noise_shape, generator=_generator(6))
    keys = [str(number) for number in range(5)]
    together = sampler.finish(noise, keys=keys)
    for row in range(5):
        assert torch.equal(sampler.finish(noise[row : row + 1], keys=keys[row : row + 1])[0], together[row])
    order = [3, 0, 4, 2, 1]
    assert torch.equal(sampler.finish(noise[order], keys=[keys[row] for row in order]), together[order])
    assert torch.equal(sampler.decode(together)[order], sampler.decode(together[order]))
    assert np.array_equal(sampler.draw(noise)[2], sampler.draw(noise[2:3])[0])


def test_seeds_are_drawn_in_batches_of_one_size(pipeline: Any, sampler_config: SamplerConfig) -> None:
    sampler = make_sampler(pipeline, "a", sampler_config.model_copy(update={"batch_size": 3}))
    sizes: list[int] = []
    watched = pipeline.unet.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    sampler.finish(torch.randn(4, *sampler.noise_shape))
    watched.remove()
    assert sizes == [3 * len(sampler.condition)] * 2 * len(sampler.steps)


@pytest.mark.parametrize("shape", [(4, 8, 8), (1, 4, 16, 16), (1, 3, 8, 8)])
def test_noise_of_another_shape_is_refused(
    pipeline: Any, sampler_config: SamplerConfig, shape: tuple[int, ...]
) -> None:
    sampler = make_sampler(pipeline, "a b", sampler_config)
    with pytest.raises(
        UsageError, match=r"expected noise of shape \('n', 4, 8, 8\), got \(.*draw seeds with the model"
    ):
        sampler.draw(torch.zeros(shape))


def test_pixels_there_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    assert np.array_equal(to_pixels(from_pixels(pixels)), pixels)


def test_sampling_leaves_the_pipeline_as_it_was(pipeline: Any, sampler_config: SamplerConfig) -> None:
    before = pipeline.scheduler.num_inference_steps
    make_sampler(pipeline, "a", sampler_config).with_steps(3)
    assert pipeline.scheduler.num_inference_steps == before


def test_a_batch_that_does_not_fit_is_halved_and_gives_the_same(sampler_config: SamplerConfig) -> None:
    pipeline = tiny.stable_diffusion()
    sampler = make_sampler(pipeline, "ab", sampler_config)
    noise = torch.randn(5, *sampler.noise_shape, generator=torch.Generator().manual_seed(5))
    expected = sampler.denoise(noise)
    limit = Limit(pipeline.unet, rows=2 * 2)
    close(sampler.denoise(noise), expected, steps=4)
    assert sampler.batch_sizes.largest == {"sampling": 2}
    limit.refused = 0
    sampler.denoise(noise)
    assert limit.refused == 0, "a limit once found is kept to"


def test_not_even_one_image_fits(sampler_config: SamplerConfig) -> None:
    pipeline = tiny.stable_diffusion()
    sampler = make_sampler(pipeline, "ab", sampler_config)
    Limit(pipeline.unet, rows=1)
    with pytest.raises(OutOfMemory, match="out of memory for the sampling of a single image; choose a smaller image"):
        sampler.denoise(torch.randn(3, *sampler.noise_shape))


@pytest.mark.parametrize(
    ("build", "steps", "guidance"),
    [
        (tiny.stable_diffusion, 20, 7.5),
        (lambda: tiny.stable_diffusion(EulerDiscreteScheduler(**TRAILING)), 1, 0.0),
        (lambda: tiny.stable_diffusion(LCMScheduler(**SD)), 4, 1.0),
        (lambda: tiny.stable_diffusion(LCMScheduler(**SD), consistency=True), 4, 8.5),
        (tiny.sdxl, 25, 5.0),
        (lambda: tiny.sdxl(EulerAncestralDiscreteScheduler(**TRAILING)), 1, 0.0),
        (tiny.sd3, 28, 7.0),
        (tiny.flux, 28, 3.5),
        (lambda: tiny.flux(guidance_input=False), 4, 0.0),
    ],
    ids=["sd", "turbo", "lcm lora", "lcm", "sdxl", "sdxl turbo", "sd3", "flux dev", "flux schnell"],
)
def test_without_a_config_a_family_is_sampled_as_usual(build: Build, steps: int, guidance: float) -> None:
    sampler: Sampler = make_sampler(build(), "a")
    assert (len(sampler.steps), sampler.config.guidance_scale, sampler.config.height) == (steps, guidance, 16)
    assert sampler.config.dtype == "float32"


def test_cost_counts_images_branches_and_steps(pipeline: Any) -> None:
    assert make_sampler(pipeline, "a").cost(3) == 3 * 2 * 20
    assert make_sampler(tiny.flux(), "a").cost(3, 5) == 3 * 1 * 5


@pytest.mark.parametrize(
    ("build", "prompt", "cut"),
    [
        (tiny.stable_diffusion, "ab cd ef gh", "g h"),
        (tiny.sdxl, "ab cd ef gh", "g h"),
        (lambda: tiny.flux(), "a" * 512, "a"),
        (lambda: tiny.sd3(), "a" * 256, "a"),
    ],
    ids=["sd", "sdxl", "flux", "sd3"],
)
def test_a_prompt_that_does_not_fit_is_cut_off_and_said_so(
    build: Build, prompt: str, cut: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    pipeline = build()
    sampler = make_sampler(pipeline, prompt, _config())
    assert sampler.condition.cut.replace(" ", "") == cut.replace(" ", "") or cut in sampler.condition.cut
    assert sampler.notes[0].startswith("the prompt is longer than the model takes; it does not see '")
    # Neither by us, who are asked for notes, nor by the pipeline, each of whose tokenizers would.
    assert not [
        text
        for text in (*caplog.messages, *(str(each.message) for each in recwarn))
        if "longer" in text or "trunc" in text
    ]
    assert not make_sampler(pipeline, "ab", _config()).notes


def test_another_scheduler_is_refused(build_pipeline: Any) -> None:
    pipeline = build_pipeline()
    pipeline.scheduler = PNDMScheduler()
    with pytest.raises(
        UsageError, match=r"expected one of DDIMScheduler, .* got PNDMScheduler; name another scheduler"
    ):
        make_sampler(pipeline, "a")


@pytest.mark.parametrize("setting", ["clip_sample", "thresholding"])
def test_clipping_is_refused(build_pipeline: Any, setting: str) -> None:
    pipeline = build_pipeline()
    pipeline.scheduler = DDIMScheduler(**{"clip_sample": False, setting: True})
    with pytest.raises(UsageError, match="clipped samples have no gradient"):
        make_sampler(pipeline, "a")


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (
            DPMSolverMultistepScheduler(solver_order=3),
            r"deterministic DPMSolver.* of order 1 or 2, got {'solver_order': 3}",
        ),
        (DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"), "got {'algorithm_type': 'sde-dpmsolver"),
        (DDIMScheduler(clip_sample=False, rescale_betas_zero_snr=True), "where the first step divides by zero"),
        (FlowMatchEulerDiscreteScheduler(), "expected a scheduler for the predictions of StableDiffusionPipeline"),
    ],
    ids=["third order", "stochastic", "zero snr epsilon", "flow"],
)
def test_settings_that_cannot_be_sampled_are_refused(build_pipeline: Any, scheduler: Any, message: str) -> None:
    pipeline = build_pipeline()
    pipeline.scheduler = scheduler
    with pytest.raises(UsageError, match=message):
        make_sampler(pipeline, "a")


def test_a_prediction_nobody_knows_is_refused(build_pipeline: Any) -> None:
    pipeline = build_pipeline()
    pipeline.scheduler.register_to_config(prediction_type="score")
    with pytest.raises(
        UsageError, match="that predicts one of epsilon, v_prediction, sample, flow_prediction, got 'score'"
    ):
        make_sampler(pipeline, "a")


@pytest.mark.parametrize(
    ("steps", "message"), [(0, "at least one step, got 0"), (60, "LCMScheduler cannot take 60 steps")]
)
def test_a_number_of_steps_the_scheduler_cannot_take_is_refused(steps: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_sampler(tiny.stable_diffusion(LCMScheduler(**SD)), "a", _config(steps))


def test_another_family_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"expected one of StableDiffusionPipeline, .* got a object; other families need"
    ):
        make_sampler(object(), "a")


@pytest.mark.parametrize(("build", "multiple"), [(tiny.stable_diffusion, 2), (tiny.sd3, 4), (tiny.flux, 4)])
def test_a_size_that_does_not_fit_the_codec_is_refused(build: Build, multiple: int) -> None:
    with pytest.raises(UsageError, match=f"multiples of {multiple}, got 15x16"):
        make_sampler(build(), "a", _config().model_copy(update={"height": 15}))


def test_a_codec_without_an_encoder_says_what_is_lost(build_pipeline: Any) -> None:
    pipeline = build_pipeline()
    pipeline.vae.encoder = None
    sampler = make_sampler(pipeline, "a", _config())
    assert not sampler.family.can_encode
    assert sampler.draw(torch.randn(1, *sampler.noise_shape)).shape == (1, 16, 16, 3)
    with pytest.raises(
        UsageError, match=r"expected a VAE with an encoder, got AutoencoderKL .* leave out the appearance"
    ):
        sampler.family.encode(torch.rand(1, 3, 16, 16))


def test_a_tiny_codec_encodes_without_a_posterior(build_pipeline: Any) -> None:
    from diffusers import AutoencoderTiny

    pipeline = build_pipeline()
    sizes = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    pipeline.vae = AutoencoderTiny(**sizes, **blocks).eval().requires_grad_(False)
    family: Family = adapt(pipeline)
    latents = family.encode(torch.rand(2, 3, 16, 16))
    assert latents.shape == (2, 4, 8, 8)
    assert family.decode(latents).shape == (2, 3, 16, 16)


class Limit:
    """A network that runs out of memory, as the CPU's allocator says it, for more than ``rows`` at once."""

    def __init__(self, network: torch.nn.Module, rows: int) -> None:
        self.rows, self.refused = rows, 0
        network.register_forward_pre_hook(self)

    def __call__(self, _module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > self.rows:
            self.refused += 1
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes.")


def _theirs(pipeline: Any, sampler: Sampler, noise: Tensor, kind: str) -> Any:
    packed = "Flux" in type(pipeline).__name__
    extra = {} if packed or "3" in type(pipeline).__name__ else {"generator": [_generator(7), _generator(8)]}
    found = pipeline(
        "ab c",
        latents=pipeline._pack_latents(noise, 2, 4, 8, 8) if packed else noise.clone(),
        num_images_per_prompt=2,
        num_inference_steps=len(sampler.steps),
        guidance_scale=sampler.config.guidance_scale,
        height=16,
        width=16,
        output_type=kind,
        **extra,
        **({"negative_prompt": sampler.config.negative_prompt} if sampler.config.negative_prompt else {}),
    ).images
    return pipeline._unpack_latents(found, 16, 16, 2) if packed and kind == "latent" else found


def _generator(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def _noise(sampler: Sampler) -> Tensor:
    return torch.randn(2, *sampler.noise_shape, generator=_generator(5))


def _config(steps: int = 4, guidance: float = 3.0, scheduler: str = "") -> SamplerConfig:
    return SamplerConfig(
        scheduler=scheduler,
        num_inference_steps=steps,
        guidance_scale=guidance,
        height=16,
        width=16,
        dtype="float32",
    )
