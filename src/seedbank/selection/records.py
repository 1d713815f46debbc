"""What a selection or an expansion says in records that outlive it: how it sampled, how images scored, what the pool was like, what it
cost, how its gradients were had."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from seedbank.records import Record


class SamplerConfig(Record):
    """How noise becomes an image."""

    scheduler: str
    """Class name of the diffusers scheduler whose steps are taken."""
    num_inference_steps: int
    guidance_scale: float
    height: int
    width: int
    dtype: str
    """Data type of the networks' arithmetic; noise and scheduler arithmetic are always float32."""
    batch_size: int = Field(default=1, ge=1)
    """How many images are always drawn at once: the last bits of an image depend on it. See ``Sampler.finish``."""
    noise_key: str = "0"
    """For schedulers that add noise on the way: the integer, as a decimal string, whose generator it comes from."""
    negative_prompt: str = ""
    """What guidance leads away from, instead of the empty prompt; only where images are guided."""


class Scores(Record):
    """How good one image is. Lower is better for losses, higher for the guard."""

    objective: float
    semantic: float
    appearance: float
    guard: float
    """Similarity to the references under the guard, a model that is in no loss."""
    cosine_to_start: float = 1.0
    norm_z: float = 0.0
    """How many standard deviations the seed's norm lies from that of white noise."""
    whiteness: float = 0.0
    """The largest absolute z-score of the whiteness tests on the seed."""


class PoolStatistics(Record):
    """Statistics of the explored plain seeds."""

    size: int
    objective_mean: float
    objective_std: float
    guard_mean: float
    guard_std: float
    guard_max: float
    previewed: int = 0
    """How many seeds were previewed, where only the better ones were drawn whole."""


class Cost(Record):
    """What the search cost, in evaluations of the denoising network (one image, one conditioning)."""

    network_evaluations: int
    iterations: int


class Check(Record):
    """What one gradient mode did on each seed that it was tried on."""

    mode: str
    cosines: tuple[float, ...]
    """Of its tangent gradient to the exact one's."""
    decreases: tuple[float, ...]
    """By how much a step of :data:`~seedbank.selection.sampling.calibrate.ANGLE` along it lowered the objective; negative where it rose."""
    network_evaluations: float
    """Of one gradient of one image."""
    agrees: bool
    """Whether every cosine is high enough and every step went down."""


class Calibration(Record):
    """The choice of a gradient mode and what it rests on."""

    kind: Literal["seedbank.calibration/1"] = "seedbank.calibration/1"
    chosen: str
    reason: str
    checks: tuple[Check, ...] = Field(min_length=1)
    """From the cheapest to the most expensive; of those that cost the same, the one that agrees best comes first."""
    network_evaluations: int
    """What finding out cost."""


SeedKind = Literal["neighbour", "mix"]
"""How an expansion makes a seed: near a find, or between several that were accepted."""


class ExpansionScores(Record):
    """How good one image of an expansion is, and how it differs from the others."""

    guard: float
    """Nearness to the references under the guard."""
    copy_score: float
    """Highest correlation with a reference."""
    semantic: float
    """Semantic loss under the objective's encoder."""
    distance: float
    """``1 - cosine`` to the nearest image accepted before it, under the guard; 2 for the first."""
    cosine: float
    """Of its seed to the nearest seed it comes from."""
    norm_z: float
    """How many standard deviations the seed's norm lies from that of white noise."""
    whiteness: float
    """The largest absolute z-score of the whiteness tests on the seed."""


class Attempts(Record):
    """How the attempts with one kind of seed ended."""

    drawn: int = 0
    accepted: int = 0
    """Of those drawn in batches."""
    too_alike: int = 0
    """Accepted, but too like an earlier image."""
    rejected_again: int = 0
    """Accepted in a batch, and not when drawn again as it is kept."""

    def __add__(self, more: Attempts) -> Attempts:
        return Attempts(**{name: getattr(self, name) + getattr(more, name) for name in Attempts.model_fields})

    def __sub__(self, before: Attempts) -> Attempts:
        return Attempts(**{name: getattr(self, name) - getattr(before, name) for name in Attempts.model_fields})

    @property
    def kept_rate(self) -> float:
        """Share of all attempts whose images were kept, had one more been made and kept: 1 before any was made (Laplace)."""
        return (self.accepted - self.too_alike - self.rejected_again + 1) / (self.drawn + 1)


class Distances(Record):
    """``1 - cosine`` under the guard between every two of several images; zeros for fewer than two."""

    least: float = 0.0
    mean: float = 0.0
    most: float = 0.0
