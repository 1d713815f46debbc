"""The state of an optimisation, apart from the loop that changes it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seedbank.selection.search.recipes import BALANCED, SEEDSELECT_V1, Recipe
from seedbank.selection.search.state import OptimisationState

NOISE = torch.arange(3.0)[:, None, None, None].expand(3, 4, 2, 2)


def test_taken_starts_keep_everything_of_theirs() -> None:
    whole = replace(OptimisationState.initial([7, 5, 9], NOISE, BALANCED), stopped_by=("", "done", ""))
    taken = whole.take([2, 1])
    assert (taken.starts, taken.stopped_by, taken.active, whole.active) == ((9, 5), ("", "done"), [0], [0, 2])
    assert taken.noise[:, 0, 0, 0].tolist() == taken.best[:, 0, 0, 0].tolist() == [2, 1]
    assert {len(values) for values in taken.moments.values()} == {2}


@pytest.mark.parametrize("recipe", [BALANCED, SEEDSELECT_V1], ids=["tangent", "adamw"])
def test_a_state_is_moved_to_a_device_as_a_whole(recipe: Recipe) -> None:
    moved = OptimisationState.initial([7, 5, 9], NOISE, recipe).to(torch.device("meta"))
    assert {values.device.type for values in (moved.noise, moved.best, *moved.moments.values())} == {"meta"}
