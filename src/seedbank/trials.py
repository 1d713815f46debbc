"""Trials: one search for seeds of one concept, and what it found. Only records; :mod:`seedbank.search` runs one.

Nothing here depends on the clock or the machine's speed: the same inputs give the same trial, byte for byte, on one machine.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from seedbank.records import Record
from seedbank.references.reference import DIGEST


class ModelCard(Record):
    """Which model drew an image, by content."""

    name: str
    source: str
    revision: str = ""
    content: str = Field(pattern=DIGEST)
    """SHA-256 over the names and digests of all files of the model."""


class SamplerConfig(Record):
    """How noise becomes an image."""

    scheduler: str
    num_inference_steps: int
    guidance_scale: float
    height: int
    width: int
    dtype: str
    """Data type of the networks' arithmetic; noise and scheduler arithmetic are always float32."""
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


class Candidate(Record):
    """A seed, the image it makes and its scores.

    The image lies under ``<trial>/images/<image>.png`` and the seed under ``<trial>/seeds/<seed>.safetensors`` of the store.
    """

    seed: str = Field(pattern=DIGEST)
    start: str = Field(pattern=DIGEST)
    """Digest of the plain seed it was optimised from; for a plain image, its own seed."""
    image: str = Field(pattern=DIGEST)
    """SHA-256 of the PNG file."""
    pixels: str = Field(pattern=DIGEST)
    """SHA-256 of ``HxWx3`` and the raw RGB bytes: what ``replay`` compares."""
    scores: Scores
    accepted: bool
    """Whether the guard accepts the image."""
    verdict: str
    """Why, in plain words, and which rule ended the search."""


class Pool(Record):
    """Statistics of the explored plain seeds."""

    size: int
    objective_mean: float
    objective_std: float
    guard_mean: float
    guard_std: float
    guard_max: float
    previewed: int = 0
    """How many seeds were previewed, where only the better ones were drawn whole."""


class Receipt(Record):
    """What the search cost, in evaluations of the denoising network (one image, one conditioning)."""

    network_evaluations: int
    iterations: int


class Trial(Record):
    """One search for seeds of one concept against one reference set with one recipe."""

    key: str = Field(pattern=DIGEST)
    """Digest of everything that went in: concept, reference set, model, sampler, recipe, code."""
    concept: str
    concept_digest: str
    reference_set: str = Field(pattern=DIGEST)
    prompt: str
    model: ModelCard
    encoder: ModelCard
    guard: ModelCard
    sampler: SamplerConfig
    recipe: dict[str, Any]
    code_version: str
    requested_by: tuple[str, ...]
    """Ids of everyone who asked for it: the concept's owner and whoever triggered it. None of them may review it."""
    pool: Pool
    plain: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]
    receipt: Receipt
    reachable: Literal["yes", "more search", "no"]

    @property
    def folder(self) -> str:
        """Key prefix of everything this trial stored."""
        return trial_folder(self.concept, self.key)


def trial_folder(concept: str, key: str) -> str:
    """Key prefix of a trial."""
    return f"trials/{concept}/{key}"
