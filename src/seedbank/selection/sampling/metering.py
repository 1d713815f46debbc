"""What one image takes of memory in each part of a model: measured on the card, or rehearsed without one.

A rehearsal runs the same code on PyTorch's meta device, where tensors have shapes and no numbers, and counts the bytes alive at each
moment. Against the H200 (``benchmarks/results/gpu_cost.md``) it is within 3 % for Stable Diffusion 1.5; ``benchmarks/memory.py`` says more.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seedbank.selection.sampling.batches import is_out_of_memory
from seedbank.selection.sampling.families import adapt
from seedbank.selection.sampling.memory import TOO_MUCH, Costs, Work
from seedbank.selection.sampling.placement import Away, recompute
from seedbank.selection.sampling.sampler import Sampler


class Meter(Protocol):
    """Bytes alive since it was entered."""

    @property
    def now(self) -> int:
        """At this moment."""

    @property
    def peak(self) -> int:
        """The most at any moment."""


def measure(
    sampler: Sampler,
    meter: Callable[[], AbstractContextManager[Meter]],
    *,
    judge: Callable[[Tensor], Tensor] | None = None,
    views: int = 1,
) -> Costs:
    """What one image takes with ``sampler``; ``judge`` is the differentiated one, which looks at ``views`` views of an image.

    The network's and codec's switches are as before when it returns. Work for which memory does not suffice costs :data:`TOO_MUCH`.
    """
    family = sampler.family
    device, codec = family.device, family.codec.network
    latents = torch.zeros(1, *sampler.noise_shape, device=device)

    def predict(inputs: Tensor) -> Tensor:
        return sampler.predict(inputs, sampler.steps[0])

    def work(
        run: Callable[[Tensor], Tensor], *switches: AbstractContextManager[None], inputs: Tensor = latents
    ) -> Work:
        for switch in switches:
            switch.__enter__()
        try:
            return _work(run, inputs, meter)
        finally:
            for switch in switches:
                switch.__exit__(None, None, None)

    images = torch.zeros(1, 3, sampler.config.height, sampler.config.width, device=device)
    return Costs(
        network=work(predict),
        network_recomputed=work(predict, recomputed(family.network)),
        codec=work(family.decode),
        codec_recomputed=work(family.decode, recomputed(codec)),
        codec_tiled=work(family.decode, recomputed(codec), tiled(codec)),
        views=views * work(judge, inputs=images).peak if judge else 0,
    )


def rehearse(sampler: Sampler, *, judge: Callable[[Tensor], Tensor] | None = None, views: int = 1) -> Costs:
    """:func:`measure` without computing anything: network and codec are on the meta device meanwhile.

    ``judge`` has to be there by itself.
    """
    with on_meta(sampler) as shapes:
        return measure(shapes, Rehearsal, judge=judge, views=views)


@contextmanager
def on_meta(sampler: Sampler) -> Iterator[Sampler]:
    """``sampler`` with its network and codec on the meta device; they are as before afterwards."""
    meta, pipeline = torch.device("meta"), sampler.family.pipeline
    modules = Away([sampler.family.network, pipeline.vae])
    modules.bring(meta)
    try:
        steps = tuple(replace(step, timestep=step.timestep.to(meta)) for step in sampler.steps)
        # another family, since one keeps constants where it first needed them
        yield replace(
            sampler,
            family=adapt(pipeline),
            condition=sampler.condition.to(meta),
            schedule=replace(sampler.schedule, steps=steps),
        )
    finally:
        modules.send_back()


def _work(run: Callable[[Tensor], Tensor], inputs: Tensor, meter: Callable[[], AbstractContextManager[Meter]]) -> Work:
    try:
        with torch.no_grad(), meter() as plain:
            run(inputs)
        leaf = inputs.clone().requires_grad_()
        with torch.enable_grad(), meter() as both:
            output = run(leaf)
            held = both.now
            torch.autograd.grad(output, leaf, torch.zeros_like(output))
        return Work(plain.peak, held, both.peak)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return Work(TOO_MUCH, TOO_MUCH, TOO_MUCH)


@contextmanager
def recomputed(module: Any) -> Iterator[None]:
    """As :func:`~.placement.recompute`, for a while."""
    undo = recompute(module)
    try:
        yield
    finally:
        undo()


@contextmanager
def tiled(codec: Any) -> Iterator[None]:
    """``codec`` works in tiles. One that cannot stays as it is."""
    able = hasattr(codec, "enable_tiling")
    before = getattr(codec, "use_tiling", False)
    if able:
        codec.enable_tiling()
    try:
        yield
    finally:
        if able and not before:
            codec.disable_tiling()


class OnCard:
    """What CUDA's allocator counts on ``device``."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __enter__(self) -> OnCard:
        """From here on."""
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        self.before = torch.cuda.memory_allocated(self.device)
        return self

    def __exit__(self, *_error: object) -> None:
        """To here; what is cached is given back, cut as it was for this work."""
        self.most = self._peak()
        torch.cuda.empty_cache()

    @property
    def now(self) -> int:
        """Bytes."""
        return torch.cuda.memory_allocated(self.device) - self.before

    @property
    def peak(self) -> int:
        """Bytes."""
        return getattr(self, "most", None) or self._peak()

    def _peak(self) -> int:
        return torch.cuda.max_memory_allocated(self.device) - self.before


class Rehearsal(TorchDispatchMode):
    """Counts the bytes of every tensor made inside, while it lives; for networks on the meta device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._alive: set[int] = set()
        self._fused: AbstractContextManager[None] = nullcontext()

    def __enter__(self) -> Rehearsal:
        """From here on, with attention as a card computes it."""
        self._fused = _fused_attention()
        self._fused.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """To here."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._fused.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and take note of what it made; a view, such as a weight's transpose, is nothing new."""
        found = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(found):
            if storage._cdata not in given:
                self._note(storage)
        return found

    def _note(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


def _storages(values: Any) -> list[Any]:
    return [tensor.untyped_storage() for tensor in tree_leaves(values) if isinstance(tensor, Tensor)]


class _Fused(torch.autograd.Function):
    """Attention in one kernel: keeps what goes in and out, never the matrix of weights. On meta PyTorch has only the other kind."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, found)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


@contextmanager
def _fused_attention() -> Iterator[None]:
    real = F.scaled_dot_product_attention

    def fused(query: Tensor, key: Tensor, value: Tensor, *_more: Any, **_named: Any) -> Tensor:
        found: Tensor = _Fused.apply(query, key, value)  # type: ignore[no-untyped-call]
        return found

    # the attribute and not a TorchFunctionMode: blocks that are computed again run outside of the modes of the way there
    F.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        F.scaled_dot_product_attention = real
