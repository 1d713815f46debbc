"""Counting what the auditor says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seedbank.models import Auditor
from seedbank.models.card import ModelCard
from seedbank.models.judges import Preprocess
from seedbank.trials.audit import audit, label_of, success


class Brightest:
    """A real classifier of three colours, small enough to be written down: the brightest channel wins."""

    dtype = torch.float32

    def __call__(self, pixel_values: torch.Tensor) -> Brightest:
        self.logits = pixel_values.mean((2, 3))
        return self


AUDITOR = Auditor(
    Brightest(),
    ("red", "Wing_Nut", "blue part"),
    Preprocess(8, (0.0,) * 3, (1.0,) * 3),
    ModelCard(name="colours", source="test", content="0" * 64),
)


def test_labels_are_found_however_they_are_spelled() -> None:
    assert [label_of(AUDITOR, name) for name in ("red", "wing-nut", "blue-part", "cog")] == [0, 1, 2, None]


def test_each_picture_is_judged() -> None:
    pictures = [
        np.zeros((8, 8, 3), np.uint8) + np.array(colour, np.uint8) for colour in ((9, 0, 0), (0, 9, 0), (9, 1, 2))
    ]
    assert audit(AUDITOR, pictures, 0).tolist() == [True, False, True]
    assert audit(AUDITOR, [], 0).tolist() == []


def test_the_interval_holds_the_rate_and_narrows_with_more_pictures() -> None:
    few, many = success(np.array([True, False] * 5)), success(np.array([True, False] * 500))
    assert few.rate == many.rate == 0.5
    assert few.low < many.low < 0.5 < many.high < few.high
    assert few.right == 5


@pytest.mark.parametrize(("right", "bounds"), [([True] * 8, (1, 1)), ([False] * 8, (0, 0)), ([], (0, 1))])
def test_extreme_rates_have_their_interval(right: list[bool], bounds: tuple[float, float]) -> None:
    found = success(np.array(right, bool))
    assert (found.low, found.high) == bounds
    assert found.rate == (1.0 if right and right[0] else 0.0)
