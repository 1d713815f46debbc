"""Batches that fit: when memory runs out, half as many at once, and on from where it was."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from seedbank.errors import OutOfMemory

T = TypeVar("T")

MESSAGES = (
    "not enough memory",
    "can't allocate memory",
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)
"""How PyTorch says so where it has no error class for it: the CPU's allocator, MPS, and libraries that allocate beside CUDA's own."""


@dataclass
class BatchSizes:
    """How many images have been found to fit at once, by kind of work; learnt on the way, so that each limit is hit once."""

    largest: dict[str, int] = field(default_factory=dict)


def in_batches(
    run: Callable[[slice], T], count: int, *, sizes: BatchSizes | None = None, kind: str = "work"
) -> list[T]:
    """What ``run`` gives for consecutive slices of ``count`` images, as large as memory allows.

    Where memory runs out, the slice is halved and tried again; finished slices are kept. Results of images in different slices must not
    depend on each other. The last bits of a result may depend on the batch it was made in.

    Raises:
        OutOfMemory: one image alone does not fit.
    """
    sizes = sizes or BatchSizes()
    done, found = 0, list[T]()
    while done < count:
        size = min(sizes.largest.get(kind, count), count - done)
        piece = slice(done, done + size)
        fits, result = _attempt(run, piece)
        if fits:
            found.append(result)  # type: ignore[arg-type]
            done += size
        elif size == 1:
            raise OutOfMemory(
                f"out of memory for the {kind} of a single image; choose a smaller image, a cheaper gradient mode "
                "(one_vjp@0.5), a smaller data type (bfloat16) or a device with more memory"
            )
        else:
            sizes.largest[kind] = size // 2
    return found


def _attempt(run: Callable[[slice], T], piece: slice) -> tuple[bool, T | None]:
    """Whether memory sufficed. The error is let go before anything is tried again: its frames hold the tensors that filled it."""
    try:
        return True, run(piece)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    gc.collect()
    if torch.cuda.is_available():
        # the allocator's cached blocks were cut for the larger batch, and keep their memory from other sizes
        torch.cuda.empty_cache()
    return False, None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on an accelerator or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in MESSAGES)


def join(parts: list[Any]) -> Any:
    """Results of slices as one: tensors along their first dimension, and so inside dictionaries, tuples and dataclasses."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, dict):
        return {name: join([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple):
        return tuple(join(list(same)) for same in zip(*parts, strict=True))
    if is_dataclass(first) and not isinstance(first, type):
        names = [part.name for part in fields(first)]
        return replace(first, **{name: join([getattr(part, name) for part in parts]) for name in names})
    # counts, such as network evaluations, add up; anything else is the same in every part
    if isinstance(first, int):
        return sum(parts)
    return first
