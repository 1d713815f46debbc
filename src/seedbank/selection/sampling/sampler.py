"""The denoising loop, written out so that gradients can flow through it: noise in, latents out.

A pipeline's own ``__call__`` runs without gradients, so it cannot be used. For the same noise this loop gives the same images. Networks
run in their own data type; noise and all scheduler arithmetic are float32. A seed is white noise of variance 1: what a scheduler
multiplies it with before the first step (``init_noise_sigma``) belongs to the sampler.

Some schedulers add noise on the way. It comes from a *key*, a decimal integer: the noise that
``torch.Generator("cpu").manual_seed(int(key))`` yields step by step, the same that a pipeline draws when it is given that generator. So
noise to image is one fixed function for each key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.batches import BatchSizes, in_batches
from seedbank.selection.sampling.families import Condition, Family, adapt
from seedbank.selection.sampling.schedules import (
    FLOW,
    Schedule,
    Step,
    make_schedule,
    named_scheduler,
    predicted_eps,
    predicted_x0,
)
from seedbank.selection.sampling.silence import only_errors

SMALL_IMAGE = 256
"""Side in pixels of the largest image that counts as small."""
SMALL_BATCH = 8
"""Small images drawn at once: one alone leaves a processor idle, and of very many the last batch would be mostly filling."""

Keys = Sequence[str]
"""For each image of a batch the key of the noise that is drawn on the way."""


@dataclass(frozen=True)
class State:
    """Where denoising stands between two steps: all that the next step needs."""

    latents: Tensor
    previous_x0: Tensor | None = None
    """The clean latents that the step before predicted, where the scheduler looks back at them."""


@dataclass(frozen=True)
class Sampler:
    """A pipeline, a prompt and a schedule: a deterministic, differentiable function from noise to latents to images."""

    family: Family
    condition: Condition
    schedule: Schedule
    config: SamplerConfig
    scheduler: Any = field(repr=False)
    """A copy of the pipeline's scheduler, from which :meth:`with_steps` makes other schedules. It is never stepped."""
    batch_sizes: BatchSizes = field(default_factory=BatchSizes, repr=False, compare=False)

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
        return (f"the prompt is longer than the model takes; it does not see {cut!r}",) if cut else ()

    def cost(self, batch: int, steps: int | None = None) -> int:
        """Network evaluations (one image, one conditioning) of ``steps`` steps, all of them by default."""
        return batch * len(self.condition) * (len(self.steps) if steps is None else steps)

    def with_steps(self, count: int) -> Sampler:
        """The same network and prompt in ``count`` steps, for previews. Takes the same seeds."""
        config = self.config.model_copy(update={"num_inference_steps": count})
        schedule = make_schedule(self.scheduler, self.family.timing(count, config), self.family.device)
        return replace(self, schedule=schedule, config=config, batch_sizes=self.family.batch_sizes())

    def with_prompt(self, prompt: str) -> Sampler:
        """The same network and schedule for another prompt."""
        condition = _condition(self.family, prompt, self.config)
        return replace(self, condition=condition, batch_sizes=self.family.batch_sizes())

    def initial_state(self, noise: Tensor) -> State:
        """Before the first step: the noise ``[B, C, h, w]`` as the scheduler wants it."""
        return State(noise.to(self.family.device, torch.float32) * self.schedule.init_noise_sigma)

    def denoise_step(self, state: State, index: int, keys: Keys | None = None) -> State:
        """After step ``index``. Differentiable in ``state``; ``keys`` are ``config.noise_key`` for all images by default."""
        step = self.steps[index]
        output = self.predict(state.latents, step)
        return self.scheduler_step(state, output, self.predict_x0(state.latents, output, step), index, keys)

    def scheduler_step(self, state: State, output: Tensor, x0: Tensor, index: int, keys: Keys | None = None) -> State:
        """After step ``index``, given the network's ``output`` at ``state`` and the ``x0`` it stands for.

        The weighted sum of :mod:`seedbank.selection.sampling.schedules`.
        """
        step = self.steps[index]
        # x' = q·x0 + r·eps + p·x + u·x0_previous + w·z; terms of weight 0 are left out of the graph
        latents = step.x0 * x0
        if step.eps:
            latents = latents + step.eps * predicted_eps(self.prediction, step, state.latents, output)
        if step.latents:
            latents = latents + step.latents * state.latents
        if step.previous_x0:  # a state from elsewhere has none: first order, as if x0 had not changed
            latents = latents + step.previous_x0 * (x0 if state.previous_x0 is None else state.previous_x0)
        if step.noise:
            latents = latents + step.noise * self._noise(state.latents, index, keys)
        # kept only where a later step looks back: each kept state is one more tensor on the way back
        return State(latents, x0 if self.schedule.multistep else None)

    def predict(self, latents: Tensor, step: Step) -> Tensor:
        """The network's guided output at ``step``."""
        # c_in·x of Karras et al. (arXiv 2206.00364, table 1)
        scaled = latents if step.input_divisor == 1 else latents / step.input_divisor
        return self.family.predict(scaled, step.timestep, self.condition, self.config.guidance_scale)

    def predict_x0(self, latents: Tensor, output: Tensor, step: Step) -> Tensor:
        """The clean latents that the network's ``output`` at ``latents`` stands for."""
        return predicted_x0(self.prediction, step, latents, output)

    def denoise_steps(self, noise: Tensor, *, keys: Keys | None = None) -> Iterator[Tensor]:
        """The latents ``[B, C, h, w]`` after each step from ``noise`` ``[B, C, h, w]``. Differentiable."""
        state = self.initial_state(noise)
        for index in range(len(self.steps)):
            state = self.denoise_step(state, index, keys)
            yield state.latents

    @torch.no_grad()
    def denoise(self, noise: Tensor, *, keys: Keys | None = None) -> Tensor:
        """The final latents of ``noise`` ``[B, C, h, w]``, as the last of :meth:`denoise_steps`, without gradients.

        For scores and previews: in one batch, or in smaller ones where memory does not suffice, so the last bits depend on how many
        images are denoised together. What is kept is made by :meth:`finish`.
        """
        return self._denoise(noise, keys, kind="sampling")

    def finish(self, noise: Tensor, *, keys: Keys | None = None) -> Tensor:
        """The final latents ``[n, C, h, w]`` of the seeds ``noise`` ``[n, C, h, w]``, for what is kept, judged and replayed.

        The last bits of a result depend on the size of the batch it was made in, because kernels sum in another order. So seeds are
        always drawn in batches of ``config.batch_size``, the last one filled up with its last seed: within a batch of one size, an
        image depends neither on its neighbours nor on its place (tested), so its bytes do not depend on how many are drawn together.
        Where memory does not suffice for such a batch, it is halved, and the last bits may be others.

        Raises:
            UsageError: noise of another shape.
        """
        if noise.ndim != 4 or tuple(noise.shape[1:]) != self.noise_shape:
            raise UsageError(
                f"expected noise of shape {('n', *self.noise_shape)}, got {tuple(noise.shape)}; draw seeds with the model and the size "
                "that they were found with"
            )
        return self._in_fixed_batches(noise, self._finish, keys)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """The images ``[n, 3, H, W]`` in about 0..1 of final latents ``[n, C, h, w]``, in the same batches as :meth:`finish`."""
        return self._in_fixed_batches(latents, self._decode)

    def draw(self, noise: Tensor, *, keys: Keys | None = None) -> npt.NDArray[np.uint8]:
        """The images ``[n, H, W, 3]`` of the seeds ``noise`` ``[n, C, h, w]``: the bytes that are kept. See :meth:`finish`."""
        return to_pixels(self.decode(self.finish(noise, keys=keys)))

    def _finish(self, noise: Tensor, keys: Keys | None) -> Tensor:
        return self._denoise(noise, keys, kind="drawing")

    def _decode(self, latents: Tensor, _keys: Keys | None) -> Tensor:
        pieces = in_batches(
            lambda piece: self.family.decode(latents[piece]),
            len(latents),
            sizes=self.batch_sizes,
            kind="decoding",
        )
        return torch.cat(pieces)

    def _in_fixed_batches(
        self, rows: Tensor, work: Callable[[Tensor, Keys | None], Tensor], keys: Keys | None = None
    ) -> Tensor:
        """``work`` of ``rows`` in batches of exactly ``config.batch_size``; what the last one was filled up with is left out."""
        size, done = self.config.batch_size, list[Tensor]()
        for first in range(0, len(rows), size):
            batch = rows[first : first + size]
            missing = size - len(batch)
            own = None if keys is None else [*keys[first : first + size], *[keys[-1]] * missing]
            filled = torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])
            done.append(work(filled, own)[: len(batch)])
        return torch.cat(done)

    @torch.no_grad()
    def _denoise(self, noise: Tensor, keys: Keys | None, *, kind: str) -> Tensor:
        def some(piece: slice) -> Tensor:
            state = self.initial_state(noise[piece])
            for index in range(len(self.steps)):
                state = self.denoise_step(state, index, keys and keys[piece])
            return state.latents

        return torch.cat(in_batches(some, len(noise), sizes=self.batch_sizes, kind=kind))

    def _noise(self, latents: Tensor, index: int, keys: Keys | None) -> Tensor:
        """The noise that step ``index`` adds, ``[B, C, h, w]``: draw number ``index`` of each key's generator."""
        # one key for all images gives [1, C, h, w], which every image then shares
        chosen = [self.config.noise_key] if keys is None else keys
        drawn = torch.stack([_draw(key, index, latents.shape[1:]) for key in chosen])
        return drawn.to(latents.device).expand_as(latents)


def _draw(key: str, index: int, shape: torch.Size) -> Tensor:
    # A generator cannot skip, so earlier draws are made and dropped. Kept between steps it would not be a function of (key, index),
    # and a step that is run again for its gradient would draw other noise.
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
    ``condition`` is used instead of encoding the prompt. A prompt that is longer than the tokenizer takes is cut off as diffusers does;
    :attr:`Sampler.notes` says so, for whoever asked to be told once.

    Raises:
        UsageError: the pipeline's family, scheduler or prediction type is not supported, or the size does not fit.
    """
    family = adapt(pipeline)
    config = config or default_config(pipeline)
    if fault := size_fault(family, config.height, config.width):
        raise UsageError(fault)
    if config.num_inference_steps < 1:
        raise UsageError(f"expected at least one step, got {config.num_inference_steps}")
    own = named_scheduler(pipeline.scheduler, config.scheduler or type(pipeline.scheduler).__name__)
    config = config.model_copy(update={"scheduler": type(own).__name__})
    schedule = make_schedule(own, family.timing(config.num_inference_steps, config), family.device)
    # with the other kind's formula the model would draw nonsense without an error
    if (schedule.prediction == FLOW) != hasattr(pipeline, "transformer"):
        raise UsageError(
            f"expected a scheduler for the predictions of {type(pipeline).__name__}, got {type(own).__name__} "
            f"for {schedule.prediction!r}; use the scheduler that the model ships"
        )
    rows = condition or _condition(family, prompt, config)
    sampler = Sampler(family, rows, schedule, config, own, family.batch_sizes())
    if config.negative_prompt and len(sampler.condition) == 1:
        raise UsageError(
            f"expected no negative prompt where nothing is guided by one, got {config.negative_prompt!r} for "
            f"{type(pipeline).__name__} at guidance {config.guidance_scale:g}; leave it out, or guide with more than 1"
        )
    return sampler


def size_fault(family: Family, height: int, width: int) -> str:
    """Why the model cannot draw images of this size in pixels, and what would do; empty where it can."""
    multiple, fitting = family.multiple, [max(1, round(side / family.multiple)) for side in (height, width)]
    # Positions of a transformer's patches, where it has a table of them.
    most = family.network.config.get("pos_embed_max_size")
    if most and max(fitting) > most:
        return f"expected sides of at most {most * multiple} pixels, got {height}x{width}; that is all that the model has positions for"
    if height % multiple or width % multiple or min(height, width) < 1:
        would_do = "x".join(str(count * multiple) for count in fitting)
        return f"expected a size in multiples of {multiple}, got {height}x{width}; {would_do} would do"
    return ""


def _condition(family: Family, prompt: str, config: SamplerConfig) -> Condition:
    # Each tokenizer would say what it cuts off, also where another one takes it.
    with only_errors():
        return family.condition(prompt, config)


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
        batch_size=usual_batch_size(usual.side, usual.side),
    )


def usual_batch_size(height: int, width: int) -> int:
    """How many images are drawn at once: :data:`SMALL_BATCH` small ones, large ones one by one, which fits wherever one fits."""
    return SMALL_BATCH if height * width <= SMALL_IMAGE**2 else 1


def to_pixels(images01: Tensor) -> npt.NDArray[np.uint8]:
    """``[B, 3, H, W]`` in about 0..1 to ``[B, H, W, 3]`` bytes, clamped and rounded as diffusers does."""
    scaled = images01.detach().clamp(0, 1).permute(0, 2, 3, 1).cpu().float().numpy()
    return np.asarray((scaled * 255).round(), np.uint8)


def from_pixels(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """``[B, H, W, 3]`` bytes to ``[B, 3, H, W]`` in 0..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
