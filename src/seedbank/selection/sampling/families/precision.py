"""Networks in a smaller data type than what surrounds them: float32 goes in, float32 comes out, and gradients survive the way back.

Bfloat16 has float32's range, so its gradients need nothing. Float16 ends at 6e-8, where gradients of a mean over an image begin. So on
the way back each image's gradient is multiplied with a power of two before it enters the network and divided by it after. Powers of two
are exact and the way back is linear, so nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def in_dtype(network: Callable[[Tensor], Tensor], inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """``network`` of ``inputs`` in ``dtype``, given back in float32; each row of a batch on its own."""
    if dtype is torch.float16 and torch.is_grad_enabled() and inputs.requires_grad:
        return scaled(network, inputs, dtype)
    return network(inputs.to(dtype)).float()


def scaled(network: Callable[[Tensor], Tensor], inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """As :func:`in_dtype`, with the gradient of each row scaled inside the network."""
    # a box shared by both ends: the scale is known only on the way back, where _Leave is passed first and _Enter last
    scale = _Scale()
    found: Tensor = _Leave.apply(network(_Enter.apply(inputs, dtype, scale)), scale)  # type: ignore[no-untyped-call]
    return found


class _Scale:
    """What the last backward pass multiplied with."""

    value: Tensor


class _Enter(torch.autograd.Function):
    """Into the network's data type; backwards, out of it and unscaled."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, dtype: torch.dtype, scale: _Scale) -> Tensor:
        ctx.scale = scale
        return inputs.to(dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        found = gradients[0].float()
        return found / _like(ctx.scale.value, found), None, None


class _Leave(torch.autograd.Function):
    """Out of the network's data type; backwards, scaled and into it."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, scale: _Scale) -> Tensor:
        ctx.scale, ctx.dtype = scale, outputs.dtype
        return outputs.float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.scale.value = power_of_two(gradients[0])
        return (gradients[0] * _like(ctx.scale.value, gradients[0])).to(ctx.dtype), None


def power_of_two(gradient: Tensor) -> Tensor:
    """For each row the power of two ``[B]`` that brings its largest component to between 1/2 and 1; 1 for rows not finite."""
    largest = gradient.flatten(1).abs().amax(1).nan_to_num(1.0, 1.0, 1.0)
    # largest = m·2^e with 1/2 <= m < 1, so times 2^-e; within ±100 the factor is a normal float32
    _, exponent = torch.frexp(largest)
    return torch.ldexp(torch.ones_like(largest), -exponent.clamp(-100, 100))


def _like(rows: Tensor, other: Tensor) -> Tensor:
    return rows.reshape(-1, *[1] * (other.dim() - 1))
