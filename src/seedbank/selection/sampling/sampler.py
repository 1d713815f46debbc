"""The denoising loop, written out so that gradients can flow through it: noise in, latents out.

A pipeline's own ``__call__`` runs without gradients, so it cannot be used. For the same noise this loop gives the same images. Networks
run in their own data type; noise and all scheduler arithmetic are float32. A seed is white noise of variance 1: what a scheduler
multiplies it with before the first step (``init_noise_sigma``) belongs to the sampler.

Some schedulers add fresh noise on the way. It comes from a *key*, a decimal integer: the noise that
``torch.Generator("cpu").manual_seed(int(key))`` yields step by step, the same that a pipeline draws when it is given that generator. So
noise to image is one fixed function for each key.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.batches import Room, in_batches
from seedbank.selection.sampling.families import Condition, Family, adapt
from seedbank.selection.sampling.schedules import (
    FLOW,
    Schedule,
    Step,
    make_schedule,
    named_scheduler,
    predicted_clean,
    predicted_noise,
)

Keys = Sequence[str]
"""One key of fresh noise for each image of a batch."""


@dataclass(frozen=True)
class State:
    """Where a pass stands between two steps: all that the next step needs."""

    latents: Tensor
    clean: Tensor | None = None
    """The clean latents predicted by the step before, where the scheduler looks back."""


@dataclass(frozen=True)
class Sampler:
    """A pipeline, a prompt and a schedule: a deterministic, differentiable function from noise to latents to images."""

    family: Family
    condition: Condition
    schedule: Schedule
    config: SamplerConfig
    scheduler: Any = field(repr=False)
    """A copy of the pipeline's scheduler, from which :meth:`with_steps` makes other schedules. It is never stepped."""
    proxy: Sampler | None = None
    """A cheaper sampler over the same noise, for the gradient mode ``proxy``; see :meth:`with_proxy`."""
    room: Room = field(default_factory=Room, repr=False, compare=False)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the schedule."""
        return self.schedule.steps

    @property
    def prediction(self) -> str:
        """What the network says: ``epsilon``, ``v_prediction``, ``sample`` or ``flow_prediction``."""
        return self.schedule.prediction

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one seed."""
        factor = self.family.factor
        return self.family.channels, self.config.height // factor, self.config.width // factor

    @property
    def notes(self) -> tuple[str, ...]:
        """What the person who asked should know: so far, whether a part of the prompt was cut off."""
        cut = self.condition.cut
        return (f"the prompt is longer than the model takes; it was not told {cut!r}",) if cut else ()

    def cost(self, batch: int, steps: int | None = None) -> int:
        """Network evaluations (one image, one conditioning) of ``steps`` steps, all of them by default."""
        return batch * len(self.condition) * (len(self.steps) if steps is None else steps)

    def with_steps(self, count: int) -> Sampler:
        """The same network and prompt in ``count`` steps: for previews and as a proxy. Takes the same seeds."""
        config = self.config.model_copy(update={"num_inference_steps": count})
        schedule = make_schedule(self.scheduler, self.family.timing(count, config), self.family.device)
        return replace(self, schedule=schedule, config=config, proxy=None, room=Room())

    def with_proxy(self, proxy: Sampler) -> Sampler:
        """This sampler with another one, over the same noise, to take gradients from.

        Raises:
            UsageError: the two do not take the same seeds.
        """
        if proxy.noise_shape != self.noise_shape:
            raise UsageError(
                f"expected a proxy that takes noise of shape {self.noise_shape}, got one of {proxy.noise_shape}; choose a "
                "few-step model of the same latent space and size"
            )
        return replace(self, proxy=proxy)

    def start(self, noise: Tensor) -> State:
        """Before the first step: the noise ``[B, C, h, w]`` as the scheduler wants it."""
        return State(noise.to(self.family.device, torch.float32) * self.schedule.start)

    def advance(self, state: State, index: int, keys: Keys | None = None) -> State:
        """After step ``index``. Differentiable in ``state``; ``keys`` are ``config.noise_key`` for all images by default."""
        step = self.steps[index]
        output = self.predict(state.latents, step)
        return self.after(state, output, self.clean(state.latents, output, step), index, keys)

    def after(self, state: State, output: Tensor, clean: Tensor, index: int, keys: Keys | None = None) -> State:
        """After step ``index``, given the network's ``output`` at ``state`` and the ``clean`` latents it stands for."""
        step = self.steps[index]
        fresh = self._fresh(state.latents, index, keys) if step.fresh else None
        moved = self._moved(state, output, clean, step, fresh)
        return State(moved, clean if self.schedule.remembers else None)

    def predict(self, latents: Tensor, step: Step) -> Tensor:
        """The network's guided output at ``step``."""
        seen = latents if step.divisor == 1 else latents / step.divisor
        return self.family.predict(seen, step.timestep, self.condition, self.config.guidance_scale)

    def clean(self, latents: Tensor, output: Tensor, step: Step) -> Tensor:
        """The clean latents that ``output`` predicts at ``step``."""
        return predicted_clean(self.prediction, step, latents, output)

    def move(
        self, latents: Tensor, output: Tensor, step: Step, *, history: Tensor | None = None, fresh: Tensor | None = None
    ) -> Tensor:
        """The latents after ``step``; ``history`` is the clean sample of the step before, ``fresh`` the noise to add."""
        return self._moved(State(latents, history), output, self.clean(latents, output, step), step, fresh)

    def trail(
        self, latents: Tensor, first: int = 0, last: int | None = None, *, keys: Keys | None = None
    ) -> Iterator[Tensor]:
        """The latents after each of the steps ``first`` to ``last`` (exclusive). Differentiable.

        ``latents`` are noise if ``first`` is 0, else the latents after step ``first - 1``, without a history.
        """
        state = self.start(latents) if first == 0 else State(latents)
        for index in range(first, len(self.steps) if last is None else last):
            state = self.advance(state, index, keys)
            yield state.latents

    @torch.no_grad()
    def run(self, latents: Tensor, first: int = 0, last: int | None = None, *, keys: Keys | None = None) -> Tensor:
        """The latents after the steps ``first`` to ``last`` (exclusive) as in :meth:`trail`, without gradients.

        In smaller batches where memory does not suffice for all at once.
        """

        def some(piece: slice) -> Tensor:
            state = self.start(latents[piece]) if first == 0 else State(latents[piece])
            for index in range(first, len(self.steps) if last is None else last):
                state = self.advance(state, index, keys and keys[piece])
            return state.latents

        return torch.cat(in_batches(some, len(latents), room=self.room, kind="sampling"))

    def finish(self, noise: Tensor, *, key: str | None = None) -> Tensor:
        """The final latents ``[1, C, h, w]`` of *one* seed ``[C, h, w]``.

        Always in a batch of one, because the last bits of a batched result depend on the batch: what is kept, judged and replayed
        is made so.
        """
        return self.run(noise[None], keys=None if key is None else [key])

    @torch.no_grad()
    def draw(self, noise: Tensor, *, key: str | None = None) -> npt.NDArray[np.uint8]:
        """The picture ``[H, W, 3]`` of one seed ``[C, h, w]``."""
        pixels: npt.NDArray[np.uint8] = to_pixels(self.family.decode(self.finish(noise, key=key)))[0]
        return pixels

    def _moved(self, state: State, output: Tensor, clean: Tensor, step: Step, fresh: Tensor | None) -> Tensor:
        """The weighted sum of :mod:`seedbank.selection.sampling.schedules`."""
        total = step.clean * clean
        if step.white:
            total = total + step.white * predicted_noise(self.prediction, step, state.latents, output)
        if step.latents:
            total = total + step.latents * state.latents
        if step.history and state.clean is not None:
            total = total + step.history * state.clean
        elif step.history:  # begun in the middle: first order, as if the clean sample had not changed
            total = total + step.history * clean
        if fresh is not None:
            total = total + step.fresh * fresh
        return total

    def _fresh(self, latents: Tensor, index: int, keys: Keys | None) -> Tensor:
        """The noise that step ``index`` adds, ``[B, C, h, w]``: draw number ``index`` of each key's generator."""
        chosen = [self.config.noise_key] if keys is None else keys
        drawn = torch.stack([_draw(key, index, latents.shape[1:]) for key in chosen])
        return drawn.to(latents.device).expand_as(latents)


def _draw(key: str, index: int, shape: torch.Size) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(int(key))
    for _ in range(index):
        torch.randn((1, *shape), generator=generator)
    return torch.randn((1, *shape), generator=generator)[0]


def make_sampler(
    pipeline: Any, prompt: str, config: SamplerConfig | None = None, *, condition: Condition | None = None
) -> Sampler:
    """A sampler of ``pipeline`` for ``prompt``; without ``config``, as the family is usually sampled, at the model's own size.

    The scheduler is the one that ``config`` names, over the pipeline's noise schedule; the pipeline's own if that name is empty. The
    pipeline stays as it is.
    ``condition`` is used instead of encoding the prompt. A prompt that is longer than the tokenizer takes is cut off as diffusers does,
    with a warning; :attr:`Sampler.notes` says so too.

    Raises:
        UsageError: the pipeline's family, scheduler or prediction type is not supported, or the size does not fit.
    """
    family = adapt(pipeline)
    config = config or default_config(pipeline)
    if config.height % family.multiple or config.width % family.multiple or min(config.height, config.width) < 1:
        raise UsageError(f"expected a size in multiples of {family.multiple}, got {config.height}x{config.width}")
    if config.num_inference_steps < 1:
        raise UsageError(f"expected at least one step, got {config.num_inference_steps}")
    own = named_scheduler(pipeline.scheduler, config.scheduler or type(pipeline.scheduler).__name__)
    config = config.model_copy(update={"scheduler": type(own).__name__})
    schedule = make_schedule(own, family.timing(config.num_inference_steps, config), family.device)
    if (schedule.prediction == FLOW) != hasattr(pipeline, "transformer"):
        raise UsageError(
            f"expected a scheduler for the predictions of {type(pipeline).__name__}, got {type(own).__name__} "
            f"for {schedule.prediction!r}; use the scheduler that the model ships"
        )
    sampler = Sampler(family, condition or family.condition(prompt, config), schedule, config, own)
    for note in sampler.notes:
        warnings.warn(note, stacklevel=2)
    return sampler


def default_config(pipeline: Any) -> SamplerConfig:
    """The usual steps and guidance of the pipeline's family at the size its network was made for."""
    usual = adapt(pipeline).sampling()
    return SamplerConfig(
        scheduler=type(pipeline.scheduler).__name__,
        num_inference_steps=usual.steps,
        guidance_scale=usual.guidance,
        height=usual.side,
        width=usual.side,
        dtype=str(adapt(pipeline).dtype).removeprefix("torch."),
    )


def to_pixels(images01: Tensor) -> npt.NDArray[np.uint8]:
    """``[B, 3, H, W]`` in about 0..1 to ``[B, H, W, 3]`` bytes, clamped and rounded as diffusers does."""
    scaled = images01.detach().clamp(0, 1).permute(0, 2, 3, 1).cpu().float().numpy()
    return np.asarray((scaled * 255).round(), np.uint8)


def from_pixels(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """``[B, H, W, 3]`` bytes to ``[B, 3, H, W]`` in 0..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
