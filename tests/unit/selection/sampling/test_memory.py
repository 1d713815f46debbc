"""What is planned from sizes alone, and what the plans say for the models and cards that people have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seedbank.selection.sampling.memory import GIB, TOO_MUCH, Costs, Weights, Work, plan_memory

WEIGHTS = Weights(network=4 * GIB, codec=GIB, text_encoders=GIB, judges=GIB)
HEAVY, LIGHT = Work(GIB, 4 * GIB, 5 * GIB), Work(GIB, GIB, 2 * GIB)
COSTS = Costs(
    network=HEAVY,
    network_recomputed=LIGHT,
    codec=Work(GIB, 6 * GIB, 8 * GIB),
    codec_recomputed=Work(GIB, GIB, 4 * GIB),
    codec_tiled=Work(GIB, GIB, 2 * GIB),
    views=GIB,
)
RESULTS = Path(__file__).parents[4] / "benchmarks" / "results" / "memory.json"
DRIVER = int(0.4 * GIB)


def test_with_room_for_everything_nothing_but_the_text_encoders_goes() -> None:
    plan = plan_memory(WEIGHTS, COSTS, 24 * GIB)
    assert plan.text_encoders_away
    assert plan.encode_at == "device"
    assert (plan.checkpointing, plan.offload, plan.vae_tiling) == (False, "none", False)
    assert plan.fits


def test_measures_are_taken_one_after_another_as_memory_shrinks() -> None:
    taken = []
    for free in range(24, 4, -1):
        plan = plan_memory(WEIGHTS, COSTS, free * GIB)
        taken.append((plan.checkpointing, plan.offload == "model", plan.vae_tiling))
    assert list(dict.fromkeys(taken)) == [
        (False, False, False),
        (True, False, False),
        (True, True, False),
        (True, True, True),
    ]
    # once taken, a measure stays for less memory
    assert taken == sorted(taken)


def test_more_memory_never_means_smaller_batches_of_the_same_layout() -> None:
    batches = [plan_memory(WEIGHTS, COSTS, free * GIB).gradients for free in range(24, 200, 4)]
    assert batches == sorted(batches)
    assert batches[0] == 1
    assert batches[-1] > 8


def test_the_estimate_is_the_peak_of_the_phases() -> None:
    plan = plan_memory(WEIGHTS, COSTS, 100 * GIB)
    # network's graph held (4), and on the codec's way back (8): 12 GiB and a tenth, beside 6 of weights and three quarters
    assert plan.needed == pytest.approx((6 + 0.75 + 1.1 * 12) * GIB, rel=1e-6)


def test_text_encoders_that_do_not_fit_beside_the_rest_work_on_the_cpu() -> None:
    plan = plan_memory(replace(WEIGHTS, text_encoders=20 * GIB), COSTS, 24 * GIB)
    assert plan.encode_at == "cpu"
    assert any("encoded on the CPU" in reason for reason in plan.reasons)


def test_every_measure_is_explained_with_what_was_needed_without_it() -> None:
    words = str(plan_memory(WEIGHTS, COSTS, 12 * GIB))
    assert "computed again on the way back: without that 19.9 GiB is needed" in words
    assert "12.0 GiB free" in words


def test_work_that_ran_out_while_it_was_measured_is_never_chosen() -> None:
    gone = Work(TOO_MUCH, TOO_MUCH, TOO_MUCH)
    plan = plan_memory(WEIGHTS, replace(COSTS, network=gone, codec=gone), 80 * GIB)
    assert plan.checkpointing
    assert any("without that more than there is is needed" in reason for reason in plan.reasons)


def test_what_does_not_fit_is_said_and_tried_alone() -> None:
    plan = plan_memory(WEIGHTS, COSTS, 4 * GIB)
    assert not plan.fits
    assert plan.gradients == 1
    assert "does not fit" in plan.reasons[-1]


@pytest.mark.parametrize(("model", "card"), [("SD 1.5", 8), ("SD 2.1", 8), ("SDXL", 16)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_search_fits_the_card_by_the_plans_own_estimate(model: str, card: int, dtype: str) -> None:
    """From sizes that ``benchmarks/memory.py`` rehearsed: no card was asked."""
    plan = plan_memory(*_rehearsed(model, dtype), int(card * 1e9) - DRIVER)
    assert plan.fits
    # nothing that changes an image
    assert not plan.vae_tiling


def test_the_rehearsal_agrees_with_the_card_that_was_measured() -> None:
    """An H200, ``gpu_cost.md``: a batch of 16 with Stable Diffusion 1.5 took 78.16 GiB, with a ViT-H/14 of 1.18 GiB in bfloat16."""
    weights, costs = _rehearsed("SD 1.5", "bfloat16")
    # rehearsed for five views of a ViT-L/14 in float32: 24 layers 1024 wide, against 32 layers 1280 wide in half of the bytes
    vit_h, view = 1.18 * GIB, costs.views / 5 * (32 * 1280) / (24 * 1024) / 2
    held = costs.network.held + costs.codec.peak + view
    estimated = weights.network + weights.codec + vit_h + 16 * held
    assert estimated == pytest.approx(78.16 * GIB, rel=0.03)


def _rehearsed(model: str, dtype: str) -> tuple[Weights, Costs]:
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text())
    row = next(row for row in rows if row["model"] == model and row["dtype"] == dtype)
    works = {name: value if name == "views" else Work(**value) for name, value in row["costs"].items()}
    return Weights(**row["weights"]), Costs(**works)
