"""What the auditor says: how often images show what they should. It reports; nothing is searched for or accepted by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from seedbank.models import Auditor

Pixels = npt.NDArray[np.uint8]
RESAMPLES = 2000


@dataclass(frozen=True)
class Success:
    """How many of ``count`` images were right, with a 95 % bootstrap interval of the rate."""

    right: int
    count: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Share of right images; 0 of none is 0."""
        return self.right / self.count if self.count else 0.0


def label_of(auditor: Auditor, name: str) -> int | None:
    """The auditor's class called ``name``, or None if it has none: dashes are underscores or spaces to some classifiers."""
    names = {_plain(label): number for number, label in enumerate(auditor.labels)}
    return names.get(_plain(name))


def _plain(label: str) -> str:
    """In the form of a concept's name: small letters and dashes."""
    return label.lower().replace("_", "-").replace(" ", "-")


def audit(auditor: Auditor, images: Sequence[Pixels], label: int) -> npt.NDArray[np.bool_]:
    """Whether the auditor sees class ``label`` in each image ``[H, W, 3]``."""
    import torch

    from seedbank.selection.sampling.sampler import from_pixels

    if not images:
        return np.zeros(0, bool)
    with torch.no_grad():
        return np.asarray(auditor(from_pixels(np.stack(images))).argmax(1).numpy() == label)


def success(right: npt.NDArray[np.bool_], *, seed: int = 0) -> Success:
    """The success rate of single judgements, its interval from resampling the images."""
    if not len(right):
        # Of no images nothing is known: the whole range.
        return Success(0, 0, 0.0, 1.0)
    # Percentile bootstrap (Efron & Tibshirani 1993), [RESAMPLES, n]; seeded, so that a report is the same twice.
    picked = np.random.default_rng(seed).integers(0, len(right), (RESAMPLES, len(right)))
    low, high = np.quantile(right[picked].mean(1), (0.025, 0.975))
    return Success(int(right.sum()), len(right), float(low), float(high))
