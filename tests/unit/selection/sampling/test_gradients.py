"""Every gradient mode against plain autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
)
from torch import Tensor

from seedbank.errors import OutOfMemory, UsageError
from seedbank.selection.judging.targets import Targets, make_targets, stack_images
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.families.precision import scaled
from seedbank.selection.sampling.gradients import Evaluation, value_and_grad
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.sampler import Sampler, State, make_sampler
from seedbank.selection.search.objective import Objective, PaperAppearance, PaperSemantic
from support import pipelines as tiny
from support.tolerance import close

SD = {"steps_offset": 1, **tiny.BETAS}
BACK = 2
"""A step that is gone through forwards and backwards counts twice."""
JUDGES = 2
"""A decoder and an encoder are two more networks in a row."""

FAMILIES: list[tuple[str, Callable[[], Any]]] = [
    ("sd DDIM", lambda: tiny.stable_diffusion(DDIMScheduler(clip_sample=False, **SD))),
    (
        "sd DDIM v",
        lambda: tiny.stable_diffusion(DDIMScheduler(clip_sample=False, prediction_type="v_prediction", **SD)),
    ),
    ("sd DDIM x", lambda: tiny.stable_diffusion(DDIMScheduler(clip_sample=False, prediction_type="sample", **SD))),
    ("sd Euler", lambda: tiny.stable_diffusion(EulerDiscreteScheduler(**SD))),
    ("sd ancestral", lambda: tiny.stable_diffusion(EulerAncestralDiscreteScheduler(**SD))),
    ("sd DPM++", lambda: tiny.stable_diffusion(DPMSolverMultistepScheduler(**SD))),
    ("LCM", lambda: tiny.stable_diffusion(LCMScheduler(**SD), consistency=True)),
    ("SDXL", tiny.sdxl),
    ("SDXL DPM++", lambda: tiny.sdxl(DPMSolverMultistepScheduler(**SD))),
    ("SD3", tiny.sd3),
    ("Flux", tiny.flux),
]


@dataclass(frozen=True)
class Pull:
    """An objective with known gradients: distances of the last latents to zero, one share for each."""

    shares: tuple[float, ...] = (1.0,)
    scale: float = 1.0

    def loss(self, last_latents: Sequence[Tensor]) -> Tensor:
        count = min(len(self.shares), len(last_latents))
        pairs = zip(self.shares[-count:], last_latents[-count:], strict=True)
        return self.scale * torch.stack([share * (x - 0.5).square().sum((1, 2, 3)) for share, x in pairs]).sum(0)

    @torch.enable_grad()
    def __call__(self, last_latents: Sequence[Tensor]) -> Evaluation:
        leaves = [x.detach().requires_grad_() for x in last_latents]
        loss = self.loss(leaves)
        cotangents = torch.autograd.grad(loss.sum(), leaves)
        value = loss.detach()
        return Evaluation(value, {"pull": value}, leaves[-1].detach(), value[:, None], cotangents)


PAPER = Pull((0.2, 0.3, 1.0))


@pytest.fixture(params=[build for _, build in FAMILIES], ids=[name for name, _ in FAMILIES])
def any_sampler(request: pytest.FixtureRequest) -> Sampler:
    return make_sampler(request.param(), "ab", _config(5))


@pytest.fixture(scope="module")
def sampler(build_pipeline: Any, sampler_config: SamplerConfig) -> Sampler:
    return make_sampler(build_pipeline("v_prediction"), "ab", sampler_config)


@pytest.fixture(scope="module")
def targets(sampler: Sampler, encoder: Any, photos: Any) -> Targets:
    return make_targets(stack_images(photos, 16, 16), encoder, sampler.family)


@pytest.fixture(scope="module")
def objective(sampler: Sampler, targets: Targets, encoder: Any) -> Objective:
    """The paper's: it looks at three latents, so a wrong last_latents shows."""
    terms = (PaperSemantic(targets), PaperAppearance(targets))
    return Objective(terms, sampler.family.decode, encoder, last_steps=3, balanced=False)


@pytest.fixture
def noise(sampler: Sampler) -> Tensor:
    return _noise(sampler)


def test_full_is_plain_autograd_in_every_family(any_sampler: Sampler) -> None:
    noise = _noise(any_sampler)
    leaf = noise.clone().requires_grad_()
    loss = PAPER.loss(list(any_sampler.denoise_steps(leaf))[-3:])
    (exact,) = torch.autograd.grad(loss.sum(), leaf)
    found = value_and_grad(any_sampler, noise, PAPER, Mode.parse("full"), last_steps=3)
    close(found.gradient, exact, steps=BACK * 5, kernels="same")
    close(found.evaluation.objective, loss.detach(), steps=5, kernels="same")
    assert found.network_evaluations == 4 * any_sampler.cost(2)
    assert found.finite.all()


def test_last_k_is_autograd_from_the_kth_last_state_in_every_family(any_sampler: Sampler) -> None:
    noise = _noise(any_sampler)
    with torch.no_grad():
        state = any_sampler.initial_state(noise)
        for index in range(3):
            state = any_sampler.denoise_step(state, index)
    prefix, leaf = state.latents, state.latents.detach().requires_grad_()
    state, states = State(leaf, state.previous_x0), [State(prefix)]  # what is remembered of the prefix is constant
    for index in (3, 4):
        state = any_sampler.denoise_step(state, index)
        states.append(state)
    loss = PAPER.loss([state.latents for state in states])
    (exact,) = torch.autograd.grad(loss.sum(), leaf)
    found = value_and_grad(any_sampler, noise, PAPER, Mode.parse("last:2"), last_steps=3)
    close(found.gradient, exact, steps=5 + BACK * 2, kernels="same")
    close(found.evaluation.objective, loss.detach(), steps=5, kernels="same")
    assert found.network_evaluations == any_sampler.cost(2) + 3 * any_sampler.cost(2, 2)


@pytest.mark.parametrize(("mode", "at"), [("one_vjp@0.5", 2), ("one_vjp@0", 0), ("one_vjp@1", 4)])
def test_one_vjp_is_one_jacobian_in_every_family(any_sampler: Sampler, mode: str, at: int) -> None:
    noise = _noise(any_sampler)
    with torch.no_grad():
        states = [any_sampler.initial_state(noise)]
        for index in range(5):
            states.append(any_sampler.denoise_step(states[-1], index))
    leaves = [state.latents.detach().requires_grad_() for state in states[-3:]]
    cotangent = torch.stack(torch.autograd.grad(PAPER.loss(leaves).sum(), leaves)).sum(0)
    step = any_sampler.steps[at]
    _, exact = torch.autograd.functional.vjp(
        lambda x: any_sampler.predict_x0(x, any_sampler.predict(x, step), step), states[at].latents, cotangent
    )
    found = value_and_grad(any_sampler, noise, PAPER, Mode.parse(mode), last_steps=3)
    close(found.gradient, exact, steps=5 + BACK, kernels="same")
    close(found.evaluation.objective, PAPER.loss(leaves).detach(), steps=5, kernels="same")
    assert found.network_evaluations == any_sampler.cost(2) + 2 * any_sampler.cost(2, 1)


def test_full_is_plain_autograd_through_decoder_and_encoder(
    sampler: Sampler, objective: Objective, noise: Tensor
) -> None:
    leaf = noise.clone().requires_grad_()
    last_latents = list(sampler.denoise_steps(leaf))
    loss = _loss(objective, last_latents[-3:])
    (exact,) = torch.autograd.grad(loss.sum(), leaf)
    found = value_and_grad(sampler, noise, objective.evaluate, Mode.parse("full"), last_steps=3)
    close(found.gradient, exact, steps=BACK * (4 + JUDGES), kernels="same")
    close(found.evaluation.objective, loss.detach(), steps=4 + JUDGES, kernels="same")


@pytest.mark.parametrize("mode", ["full", "last:2", "one_vjp@0.5"])
def test_a_small_step_against_the_gradient_lowers_the_objective(
    sampler: Sampler, objective: Objective, noise: Tensor, mode: str
) -> None:
    found = value_and_grad(sampler, noise, objective.evaluate, Mode.parse(mode), last_steps=3)
    step = 1e-2 * found.gradient / found.gradient.flatten(1).norm(dim=1)[:, None, None, None]
    after = value_and_grad(
        sampler, noise - step, objective.evaluate, Mode.parse("full"), last_steps=3
    ).evaluation.objective
    assert (after < found.evaluation.objective).all()


def test_the_images_of_a_batch_do_not_feel_each_other(sampler: Sampler, objective: Objective, noise: Tensor) -> None:
    both = value_and_grad(sampler, noise, objective.evaluate, Mode.parse("full"), last_steps=3).gradient
    alone = value_and_grad(sampler, noise[1:], objective.evaluate, Mode.parse("full"), last_steps=3).gradient
    close(both[1:], alone, steps=BACK * (4 + JUDGES))


def test_fresh_noise_follows_the_keys(noise: Tensor) -> None:
    ancestral = make_sampler(tiny.stable_diffusion(EulerAncestralDiscreteScheduler(**SD)), "ab", _config(3))
    both = value_and_grad(ancestral, noise, Pull(), Mode.parse("full"), keys=["1", "2"])
    alone = value_and_grad(ancestral, noise[1:], Pull(), Mode.parse("full"), keys=["2"])
    close(both.gradient[1:], alone.gradient, steps=BACK * 3)
    close(both.evaluation.images, ancestral.denoise(noise, keys=["1", "2"]), steps=3)


@pytest.mark.parametrize("mode", ["full", "last:3", "one_vjp@0.5"])
@pytest.mark.parametrize("scheduler", [DDIMScheduler(clip_sample=False, **SD), DPMSolverMultistepScheduler(**SD)])
def test_memory_does_not_grow_with_the_steps(scheduler: Any, mode: str) -> None:
    pipeline = tiny.stable_diffusion(scheduler)
    few, many = (_peak(_go, make_sampler(pipeline, "ab", _config(steps)), mode) for steps in (4, 16))
    between = 2 * 4 * 4 * 8 * 8 * 2  # bytes of the latents, and the remembered ones, between two steps
    assert many <= few + 12 * between + 2048
    assert few > 20 * between, "the network's activations are what is measured"


def test_the_measure_of_memory_sees_plain_autograd_grow() -> None:
    pipeline = tiny.stable_diffusion()
    few, many = (_peak(_plain, make_sampler(pipeline, "ab", _config(steps))) for steps in (4, 16))
    assert many > 3 * few


@pytest.mark.parametrize("mode", ["full", "last:2", "one_vjp@0.5"])
def test_a_gradient_that_is_not_finite_is_zero_and_flagged_alone(sampler: Sampler, noise: Tensor, mode: str) -> None:
    clean = value_and_grad(sampler, noise, Pull(), Mode.parse(mode))

    def broken(last_latents: Sequence[Tensor]) -> Evaluation:
        found = Pull()(last_latents)
        poisoned = found.cotangents[-1].clone()
        poisoned[0, 0, 0, 0] = float("nan")
        return replace(found, cotangents=(*found.cotangents[:-1], poisoned))

    found = value_and_grad(sampler, noise, broken, Mode.parse(mode))
    assert found.finite.tolist() == [False, True]
    assert not found.gradient[0].any()
    assert torch.equal(found.gradient[1], clean.gradient[1])


@pytest.mark.parametrize("size", [0.0, 1.0, 3e-7, 7e9])
def test_scaling_for_float16_is_undone_exactly(sampler: Sampler, noise: Tensor, size: float) -> None:
    def network(latents: Tensor) -> Tensor:
        output: Tensor = sampler.family.network(latents, 500, sampler.condition.text, return_dict=False)[0]
        return output

    leaf, rows = noise.clone().requires_grad_(), torch.tensor([1.0, 1e-3])[:, None, None, None]
    expected, found = (
        torch.autograd.grad((size * rows * output.square()).sum(), leaf)[0]
        for output in (network(leaf), scaled(network, leaf, torch.float32))
    )
    assert torch.equal(found, expected)


def test_small_gradients_survive_a_float16_network_and_codec() -> None:
    scheduler = DDIMScheduler(clip_sample=False, prediction_type="sample", **SD)  # all of the gradient is the network's
    exact = make_sampler(tiny.stable_diffusion(scheduler), "ab", _config(3))
    half = make_sampler(tiny.stable_diffusion(scheduler).to(torch.float16), "ab", _config(3))
    noise, small = _noise(exact), 2.0**-40
    expected = _seen(exact, noise, 1.0)
    found = _seen(half, noise, small) / small
    assert found.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(found.flatten(1), expected.flatten(1), eps=1e-20)
    assert (cosine > 0.99).all()
    torch.testing.assert_close(found.norm(), expected.norm(), rtol=0.05, atol=0)

    leaf = noise.clone().requires_grad_()
    bare = half.family.network(leaf.half(), 999, half.condition.text[:1].expand(2, -1, -1), return_dict=False)[
        0
    ].float()
    assert not torch.autograd.grad(small * bare.sum(), leaf)[0].any(), "unscaled, all of it would vanish"


def _seen(sampler: Sampler, noise: Tensor, scale: float) -> Tensor:
    """The gradient of some function of the picture."""

    @torch.enable_grad()
    def look(last_latents: Sequence[Tensor]) -> Evaluation:
        leaf = last_latents[-1].detach().requires_grad_()
        images = sampler.family.decode(leaf)
        value = scale * images.square().mean((1, 2, 3))
        (cotangent,) = torch.autograd.grad(value.sum(), leaf)
        return Evaluation(value.detach(), {}, images.detach(), images.detach().flatten(1), (cotangent,))

    return value_and_grad(sampler, noise, look, Mode.parse("full")).gradient


@pytest.mark.parametrize("mode", ["full", "last:2", "one_vjp@0.5"])
def test_a_batch_that_does_not_fit_is_halved_and_gives_the_same(mode: str) -> None:
    pipeline = tiny.stable_diffusion()
    sampler = make_sampler(pipeline, "ab", _config(3))
    noise = torch.randn(3, *sampler.noise_shape, generator=torch.Generator().manual_seed(3))
    expected = value_and_grad(sampler, noise, Pull(), Mode.parse(mode))

    def refuse(_module: Any, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].requires_grad and len(inputs[0]) > 2 * 2:
            raise torch.OutOfMemoryError("out of memory")

    pipeline.unet.register_forward_pre_hook(refuse)
    found = value_and_grad(sampler, noise, Pull(), Mode.parse(mode))
    close(found.gradient, expected.gradient, steps=BACK * 3)
    close(found.evaluation.terms["pull"], expected.evaluation.terms["pull"], steps=3)
    assert (found.network_evaluations, len(found.finite)) == (expected.network_evaluations, 3)


def test_not_even_one_image_fits(sampler_config: SamplerConfig) -> None:
    pipeline = tiny.stable_diffusion()
    sampler = make_sampler(pipeline, "ab", sampler_config)

    def full(last_latents: Sequence[Tensor]) -> Evaluation:
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(OutOfMemory, match=r"for the gradient one_vjp of a single image; .* a cheaper gradient mode"):
        value_and_grad(sampler, _noise(sampler), full, Mode.parse("one_vjp@0.5"))


@pytest.mark.parametrize("text", ["", "half", "last:0", "one_vjp", "one_vjp@1.5", "full:2", "proxy"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a gradient mode 'full', 'last:k' or 'one_vjp@x'"):
        Mode.parse(text)


def _loss(objective: Objective, last_latents: list[Tensor]) -> Tensor:
    """The paper's loss, written again from its equation."""
    semantic, _ = objective.terms
    assert isinstance(semantic, PaperSemantic)
    total = torch.zeros(len(last_latents[0]))
    for share, latents in zip((0.05, 0.25, 0.70), last_latents, strict=True):
        seen = objective.encoder(objective.decode(latents).clamp(0, 1))
        total = total + 10 * share * (1 - seen @ semantic.targets.centroid)
    return total + (last_latents[-1] - semantic.targets.latents.mean(0)).square().mean((1, 2, 3))


def _go(sampler: Sampler, mode: str) -> None:
    value_and_grad(sampler, _noise(sampler), Pull(), Mode.parse(mode))


def _plain(sampler: Sampler) -> None:
    leaf = _noise(sampler).requires_grad_()
    *_, last = sampler.denoise_steps(leaf)
    torch.autograd.grad(last.sum(), leaf)


def _peak(work: Callable[..., None], *what: Any) -> int:
    """The most bytes that PyTorch's allocator had given out at once while ``work`` ran."""
    work(*what)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work(*what)
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def _noise(sampler: Sampler) -> Tensor:
    return torch.randn(2, *sampler.noise_shape, generator=torch.Generator().manual_seed(7))


def _config(steps: int = 4, guidance: float = 3.0) -> SamplerConfig:
    return SamplerConfig(
        scheduler="", num_inference_steps=steps, guidance_scale=guidance, height=16, width=16, dtype="float32"
    )
