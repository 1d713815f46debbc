"""What an expansion gives: the accepted images, how the attempts of each kind ended, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seedbank.selection.records import Attempts, Distances, ExpansionScores, SeedKind
from seedbank.selection.seeds import Seed


@dataclass(frozen=True)
class ExpandedImage:
    """An accepted image, the seed it comes from, and its scores."""

    seed: Seed
    pixels: npt.NDArray[np.uint8]
    """``[H, W, 3]``, as it will be replayed."""
    scores: ExpansionScores


@dataclass(frozen=True)
class ExpansionResult:
    """What came of one find or several.

    Attributes:
        images: accepted and pairwise distinct, in the order they were found.
        cosine: of neighbours to their find: the smallest that was accepted often enough. Where those were too alike, it went further.
        probed: share that was accepted, by cosine.
        min_distance: least distance between two images that was asked for.
        needed: nearness to the references under the guard that was asked for.
        semantic_limit: most semantic loss that was accepted; None for any.
        attempts: how the attempts of each kind of seed ended.
        vendi: effective number of different images under the guard's embedding; 0 of none.
        distances: between every two images.
        network_evaluations: spent, one image and one conditioning each.
        plain_samples_each: cost of one accepted image in plain samples; infinite where none is.
        seconds: what it took: the only thing that differs between two calls with the same arguments.
    """

    images: tuple[ExpandedImage, ...]
    cosine: float
    probed: Mapping[float, float]
    min_distance: float
    needed: float
    semantic_limit: float | None
    attempts: Mapping[SeedKind, Attempts]
    vendi: float
    distances: Distances
    network_evaluations: int
    plain_samples_each: float
    seconds: float = field(default=0.0, compare=False)

    @property
    def acceptance_rate(self) -> float:
        """Share of all seeds drawn that were accepted."""
        drawn = sum(attempts.drawn for attempts in self.attempts.values())
        return sum(attempts.accepted for attempts in self.attempts.values()) / drawn if drawn else 0.0
