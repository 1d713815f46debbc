"""Parts that come and go: text encoders for a prompt, network and codec by turns; and what none of this may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from seedbank.errors import OutOfMemory
from seedbank.models.placing import decoding
from seedbank.selection.sampling.gradients import Evaluation, ValueAndGrad, value_and_grad
from seedbank.selection.sampling.memory import GIB, MemoryPlan, Weights
from seedbank.selection.sampling.metering import rehearse
from seedbank.selection.sampling.modes import Mode
from seedbank.selection.sampling.placement import Away, follow, place, placement_of, recompute, size_of
from seedbank.selection.sampling.sampler import Sampler, make_sampler
from support.pipelines import sd3, sdxl, stable_diffusion
from support.tolerance import close

CPU, META = torch.device("cpu"), torch.device("meta")
PLAN = MemoryPlan(True, "device", False, False, False, "none", 2, 3, GIB, 2 * GIB, ())


def test_what_was_brought_goes_back_with_every_bit() -> None:
    module = stable_diffusion().text_encoder
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    away = Away([module])
    away.bring(META)
    assert {tensor.device for tensor in (*module.parameters(), *module.buffers())} == {META}
    away.send_back()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_tied_weights_stay_tied_and_count_once() -> None:
    first = torch.nn.Linear(4, 4, bias=False)
    second = torch.nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    assert size_of([first, second]) == 64
    Away([first, second]).bring(META)
    assert first.weight is second.weight


@pytest.mark.parametrize("build", [stable_diffusion, sdxl, sd3])
def test_text_encoders_are_where_the_prompt_is_encoded_and_only_then(build: Any) -> None:
    pipeline = build()
    expected = make_sampler(pipeline, "a cat").condition
    placement = place(pipeline, CPU)
    placement.text_encoders.bring(META)  # away: nothing can be computed with them
    home, placement.text_encoders = placement.text_encoders, _Back(placement.text_encoders)
    family = make_sampler(pipeline, "a cat").family
    assert next(home.modules[0].parameters()).device == META
    torch.testing.assert_close(family.condition("a cat", make_sampler(pipeline, "a cat").config).text, expected.text)


def test_a_prompt_is_encoded_once() -> None:
    pipeline = stable_diffusion()
    sampler = make_sampler(pipeline, "a cat")
    calls = list[object]()
    pipeline.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    other = sampler.with_prompt("a dog")
    once = len(calls)
    assert once
    assert sampler.with_prompt("a dog").condition is other.condition
    assert sampler.with_prompt("a cat").condition is sampler.condition
    assert len(calls) == once


@pytest.mark.parametrize("build", [stable_diffusion, sdxl, sd3])
def test_computing_activations_again_changes_no_bit(build: Any) -> None:
    pipeline = build()
    sampler = make_sampler(pipeline, "a cat").with_steps(3)
    noise = _noise(sampler, 2)
    kept = _gradient(sampler, noise)
    undo = [recompute(sampler.family.network), recompute(pipeline.vae)]
    again = _gradient(sampler, noise)
    assert torch.equal(again.gradient, kept.gradient)
    for each in undo:
        each()
    assert torch.equal(_gradient(sampler, noise).gradient, kept.gradient)


def test_by_turns_every_part_is_there_when_it_is_needed() -> None:
    """Away means the meta device here: whatever computed with a part that is away would have no numbers."""
    pipeline = stable_diffusion()
    sampler = make_sampler(pipeline, "a cat").with_steps(3)
    noise = _noise(sampler, 2)
    expected = _gradient(sampler, noise).gradient
    placement = place(pipeline, CPU)
    follow(pipeline, placement, replace(PLAN, checkpointing=True, offload="model"))
    placement.network, placement.codec = (_Back(Away([part])) for part in (pipeline.unet, pipeline.vae))
    for part in (placement.network, placement.codec):
        part.away.bring(META)
    sampler = make_sampler(pipeline, "a cat").with_steps(3)
    assert torch.equal(_gradient(sampler, noise).gradient, expected)
    assert sampler.family.device == CPU
    assert placement.network.turns > 1
    assert placement.codec.turns > 0


def test_batches_begin_with_what_was_planned() -> None:
    pipeline = stable_diffusion()
    follow(pipeline, place(pipeline, CPU), PLAN)
    sampler = make_sampler(pipeline, "a cat")
    assert sampler.batch_sizes.largest["gradient one_vjp"] == 2
    assert sampler.with_prompt("a dog").batch_sizes.largest["sampling"] == 3
    sizes = list[int]()
    pipeline.unet.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    few = sampler.with_steps(2)
    few.denoise(_noise(few, 5))
    assert sizes == [2 * 3] * 2 + [2 * 2] * 2  # two branches of guidance, two steps


def test_nothing_is_planned_for_a_pipeline_that_nobody_placed() -> None:
    pipeline = stable_diffusion()
    assert placement_of(pipeline).plan is None
    assert not make_sampler(pipeline, "a cat").batch_sizes.largest


def test_a_network_that_cannot_fit_is_refused_before_it_is_moved() -> None:
    pipeline = stable_diffusion()
    with pytest.raises(OutOfMemory, match=r"expected 0\.8 GiB free on cuda:0 .* got 0\.5 GiB; .*SEEDBANK_DEVICE=cpu"):
        place(pipeline, torch.device("cuda:0"), lambda _pipeline, _weights: PLAN, free=GIB // 2)
    assert pipeline.unet.device == CPU


def test_a_planned_pipeline_follows_its_plan() -> None:
    pipeline = stable_diffusion()
    seen = list[Weights]()

    def planner(_pipeline: Any, weights: Weights) -> MemoryPlan:
        seen.append(weights)
        return replace(PLAN, checkpointing=True, vae_slicing=True, vae_tiling=True)

    placement = place(pipeline, CPU, planner, free=8 * GIB)
    assert placement.plan is not None
    assert seen[0].network == size_of([pipeline.unet])
    assert seen[0].text_encoders == size_of([pipeline.text_encoder])
    assert (pipeline.vae.use_slicing, pipeline.vae.use_tiling) == (True, True)
    assert pipeline.unet.is_gradient_checkpointing
    assert decoding(pipeline) == {"decoding": "in tiles"}
    # planned for nothing else, everything is as it was
    place(pipeline, CPU)
    assert (pipeline.vae.use_slicing, pipeline.vae.use_tiling) == (False, False)
    assert not pipeline.unet.is_gradient_checkpointing
    assert decoding(pipeline) == {}


def test_a_rehearsal_sees_what_recomputing_saves_and_leaves_everything_as_it_was() -> None:
    pipeline = stable_diffusion()
    sampler = make_sampler(pipeline, "a cat").with_steps(3)
    before = sampler.draw(_noise(sampler, 1))
    costs = rehearse(sampler)
    assert costs.network_recomputed.held < costs.network.held <= costs.network.peak
    assert costs.codec_recomputed.peak < costs.codec.peak
    assert costs.network.plain < costs.network.held
    assert not pipeline.unet.is_gradient_checkpointing
    assert not pipeline.vae.use_tiling
    assert (sampler.draw(_noise(sampler, 1)) == before).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", ["one_vjp@0.5", "full"])
def test_no_result_depends_on_the_batch_size_beyond_rounding(dtype: torch.dtype, mode: str) -> None:
    pipeline = stable_diffusion()
    pipeline.unet.to(dtype)
    pipeline.vae.to(dtype)
    pipeline.text_encoder.to(dtype)
    sampler = make_sampler(pipeline, "a cat").with_steps(3)
    noise = _noise(sampler, 4)
    whole = _gradient(sampler, noise, mode)
    for size in (1, 3):
        sampler.batch_sizes.largest.update(sampling=size, **{f"gradient {kind}": size for kind in ("one_vjp", "full")})
        apart = _gradient(sampler, noise, mode)
        close(apart.evaluation.images, whole.evaluation.images, steps=4, dtype=dtype)
        # evaluations in a row: three steps there, again, and back, which counts twice; the codec there and back
        close(apart.gradient, whole.gradient, steps=3 * (1 + 1 + 2) + 3, dtype=dtype)
        close(sampler.denoise(noise), sampler.with_steps(3).denoise(noise), steps=3, dtype=dtype)


class _Back:
    """Parts that are away on the meta device, and at home when it is their turn: the other way round than on a card, where away is home."""

    def __init__(self, away: Away) -> None:
        self.away, self.turns = away, 0

    def bring(self, _device: torch.device) -> None:
        self.turns += bool(self.away._home)
        self.away.send_back()

    def send_back(self) -> None:
        self.away.bring(META)


def _noise(sampler: Sampler, count: int) -> torch.Tensor:
    return torch.randn(count, *sampler.noise_shape, generator=torch.Generator().manual_seed(0))


def _gradient(sampler: Sampler, noise: torch.Tensor, mode: str = "one_vjp@0.5") -> ValueAndGrad:
    def evaluate(last: Any) -> Evaluation:
        leaf = last[-1].detach().requires_grad_()
        with torch.enable_grad():
            images = sampler.family.decode(leaf)
            value = images.square().mean((1, 2, 3))
        (back,) = torch.autograd.grad(value.sum(), leaf)
        return Evaluation(value.detach(), {}, images.detach(), images.detach().flatten(1), (back,))

    return value_and_grad(sampler, noise, evaluate, Mode.parse(mode))
