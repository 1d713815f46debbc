"""What ``benchmarks/gpu_cost.py`` measures on a card is a trial as the product runs it: in toy sizes, on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_importable() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def test_a_trial_of_random_sdxl_tells_what_it_cost(tmp_path: Path) -> None:
    from gpu_cost import TINY_XL
    from gpu_trial import searched

    row = searched(TINY_XL.networks, tmp_path, preset="fast", device="cpu")
    assert (row["model"], row["device"], row["dtype"]) == ("SDXL", "cpu", "float32")
    assert row["iterations"] > 0
    assert row["seconds_an_iteration"] > 0
    assert row["images_an_hour"] > 0


def test_guidance_in_two_calls_is_what_one_batch_gives() -> None:
    import torch
    from gpu_cost import TINY, TINY_XL, build, draw_noise, make, two_calls

    from support.tolerance import close

    for size in (TINY, TINY_XL):
        parts = build(size, torch.device("cpu"))
        torch.manual_seed(0)
        one = make(size, parts, torch.device("cpu"))
        torch.manual_seed(0)
        two = make(size, parts, torch.device("cpu"), two_calls(size))
        noise = draw_noise(one, 2)
        close(two.predict(noise, two.steps[0]).detach(), one.predict(noise, one.steps[0]).detach(), steps=2)
