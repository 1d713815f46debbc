"""Batches that fit."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seedbank.errors import OutOfMemory, SeedbankError
from seedbank.selection.sampling.batches import BatchSizes, in_batches, is_out_of_memory, join


@settings(max_examples=12, deadline=None)  # each lack of memory collects garbage, which takes a while
@given(count=st.integers(1, 40), limit=st.integers(1, 40), first=st.integers(0, 40))
def test_every_image_is_done_once_in_order_whatever_fits(count: int, limit: int, first: int) -> None:
    sizes = BatchSizes({"work": first} if first else {})
    tried: list[int] = []

    def run(piece: slice) -> list[int]:
        size = piece.stop - piece.start
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return list(range(count))[piece]

    done = in_batches(run, count, sizes=sizes)
    assert [image for part in done for image in part] == list(range(count))
    refused = [size for size in tried if size > limit]
    assert refused == sorted(set(refused), reverse=True), "a size that did not fit is not tried again"


def test_one_image_that_does_not_fit_is_an_error_with_advice() -> None:
    def run(piece: slice) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(
        OutOfMemory, match=r"out of memory for the decoding of a single image; .* \(one_vjp@0\.5\)"
    ) as caught:
        in_batches(run, 4, kind="decoding")
    assert isinstance(caught.value, SeedbankError)
    assert caught.value.exit_code == 3


def test_another_fault_is_not_taken_for_a_lack_of_memory() -> None:
    def run(piece: slice) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        in_batches(run, 4)


def test_limits_are_kept_by_kind_of_work() -> None:
    fits = BatchSizes({"sampling": 2})
    sizes: list[int] = []
    in_batches(lambda piece: sizes.append(piece.stop - piece.start), 4, sizes=fits, kind="gradient full")
    in_batches(lambda piece: sizes.append(piece.stop - piece.start), 4, sizes=fits, kind="sampling")
    assert sizes == [4, 2, 2]


def test_what_pytorch_really_says_on_this_machine_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**56, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@dataclass(frozen=True)
class Part:
    values: Tensor
    named: dict[str, Tensor]
    several: tuple[Tensor, ...]
    cost: int
    word: str = "same"


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_joining_undoes_slicing(cuts: list[int]) -> None:
    whole = torch.randn(sum(cuts), 3)
    parts = [Part(rows, {"a": rows * 2}, (rows + 1, rows[:, 0]), len(rows)) for rows in whole.split(cuts)]
    found = join(parts)
    assert torch.equal(found.values, whole)
    assert torch.equal(found.named["a"], whole * 2)
    assert torch.equal(found.several[0], whole + 1)
    assert torch.equal(found.several[1], whole[:, 0])
    assert (found.cost, found.word) == (sum(cuts), "same")
