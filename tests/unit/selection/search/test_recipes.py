"""Recipes as values of a record: read back as they were, and refused where they cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbank.errors import UsageError, VerificationError
from seedbank.records import Record, canonical_json
from seedbank.selection.search.recipes import (
    BALANCED,
    PRESETS,
    SEEDSELECT_V1,
    AdamW,
    Explore,
    Recipe,
    Stop,
    Tangent,
)


class Holder(Record):
    recipe: Recipe


number = st.floats(allow_nan=False, allow_infinity=False, width=64)
count = st.integers(min_value=1, max_value=2**53 - 1)
share = st.floats(min_value=0, max_value=1)
recipes = st.builds(
    Recipe,
    name=st.text(max_size=20),
    explore=st.builds(
        Explore, size=count, per_start=count, batch=count, shortlist=number, ranked=st.booleans(), preview=number,
        keep=number, paired=st.booleans(), inverted=st.lists(number, max_size=3).map(tuple),
    ),
    update=st.one_of(
        st.builds(Tangent, step=number, final_step=number, momentum=number, cosine_floor=number, langevin=number),
        st.builds(AdamW, rate=number, drop=number, drop_at=count, betas=st.tuples(number, number), epsilon=number),
    ),
    stop=st.builds(Stop, stale=count, improvement=number, hacked=count, cornered=count, near_enough=st.booleans()),
    gradient=st.one_of(
        st.sampled_from(["calibrated", "full"]),
        st.integers(1, 99).map("last:{}".format),
        st.integers(0, 999).map(lambda thousandths: f"one_vjp@0.{thousandths:03}"),
    ),
    iterations=count,
    spare=st.floats(min_value=1, max_value=1e6),
    objective=st.sampled_from(["soft_nearest", "paper"]),
    appearance=number, contrast=number, cutouts=count, max_whiteness=number, match_codec=st.booleans(),
    keep=st.sampled_from(["best", "last"]), guard_every=count, guard_slack=number,
    guard_turns=st.sampled_from([1, 2, 4]),
)  # fmt: skip


@given(recipes)
def test_a_recipe_is_read_back_as_it_was(recipe: Recipe) -> None:
    kept = Holder(recipe=recipe)
    again = Holder.from_bytes(kept.to_bytes())
    assert again.recipe == recipe
    assert type(again.recipe.update) is type(recipe.update)
    assert again.to_bytes() == kept.to_bytes()
    assert again.recipe.digest == recipe.digest


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=PRESETS)
def test_in_a_record_a_preset_has_the_bytes_of_its_digest(recipe: Recipe) -> None:
    assert Holder(recipe=recipe).to_bytes() == b'{"recipe":' + canonical_json(recipe.to_dict()) + b"}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shuffle": 1}, "expected a Holder record, got something else"),
        ({"update": {"kind": "newton"}}, "expected a Holder record, got something else"),
        ({"update": {"kind": "tangent", "rate": 0.1}}, "expected a Holder record, got something else"),
        ({"iterations": 0}, "got one that cannot be: expected at least one seed, one iteration"),
        ({"gradient": "sideways"}, "got one that cannot be: expected a gradient mode"),
        ({"spare": 0.5}, "got one that cannot be: expected at least 1 start begun"),
    ],
)
def test_what_is_no_recipe_is_no_record(changes: dict[str, Any], message: str) -> None:
    document = {"recipe": BALANCED.to_dict() | changes}
    with pytest.raises(VerificationError, match=message):
        Holder.from_bytes(json.dumps(document).encode())


def test_a_recipe_without_iterations_is_refused() -> None:
    with pytest.raises(UsageError, match="expected at least one seed, one iteration"):
        replace(SEEDSELECT_V1, iterations=0)


def test_recipes_and_trials_are_read_without_torch() -> None:
    code = "import sys, seedbank.trials.records, seedbank.release.records; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
