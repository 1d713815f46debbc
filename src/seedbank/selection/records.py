"""What a selection says in records that outlive it: how it sampled, how an image scored, what the pool was like, what it cost."""

from __future__ import annotations

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
