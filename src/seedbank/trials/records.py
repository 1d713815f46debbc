"""Trials: one search for seeds of one concept, and what it found. Only records; :mod:`seedbank.trials.run` runs one.

Nothing here depends on the clock or the machine's speed: the same inputs give the same trial, byte for byte, on one machine with one
number of threads, which it names.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from seedbank.bank import KeptRecord
from seedbank.models.card import ModelCard
from seedbank.records import DIGEST, Record
from seedbank.selection.records import (
    Attempts,
    Calibration,
    Cost,
    Distances,
    ExpansionScores,
    PoolStatistics,
    SamplerConfig,
    Scores,
    SeedKind,
)
from seedbank.selection.search.recipes import Recipe


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
    explanation: str
    """Why, in plain words, and which rule ended the search."""


class Trial(KeptRecord):
    """One search for seeds of one concept against one reference set with one recipe."""

    KIND: ClassVar[str] = "trial"
    PLACE: ClassVar[str] = "trials/{concept}/{address}/trial.json"
    EVENT: ClassVar[str] = "trial.finished"
    ADVICE: ClassVar[str] = "run `seedbank optimise {concept}`"

    key: str = Field(pattern=DIGEST)
    """Digest of everything that went in: concept, reference set, model, sampler, recipe, code."""
    concept_digest: str
    reference_set: str = Field(pattern=DIGEST)
    prompt: str
    profile: str
    """Name of the model profile that named the models."""
    model: ModelCard
    encoder: ModelCard
    guard: ModelCard
    sampler: SamplerConfig
    recipe: Recipe
    code_version: str
    software: dict[str, str]
    """What it was drawn with, as :func:`seedbank.models.software.drawing_software` says: what an image's last bits depend on."""
    pool: PoolStatistics
    plain: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]
    calibration: Calibration | None = None
    """How the gradient mode was chosen, and what choosing cost; None where the recipe names the mode."""
    cost: Cost
    reachability: Literal["plain", "optimised", "unreachable"]
    notes: tuple[str, ...] = ()
    """What is not as whoever asked would expect: a scheduler in place of the model's own, words of the prompt that it does not see."""

    @property
    def address(self) -> str:
        """Its key."""
        return self.key

    @property
    def folder(self) -> str:
        """Key prefix of everything this trial stored."""
        return trial_folder(self.concept, self.key)


def trial_folder(concept: str, key: str) -> str:
    """Key prefix of a trial."""
    return f"trials/{concept}/{key}"


class KeptImage(Record):
    """One accepted image of an expansion, as the store keeps it: below the expansion's folder, as a trial keeps its candidates."""

    seed: str = Field(pattern=DIGEST)
    image: str = Field(pattern=DIGEST)
    """SHA-256 of the PNG file."""
    pixels: str = Field(pattern=DIGEST)
    """SHA-256 of ``HxWx3`` and the raw RGB bytes: what a replay compares."""
    scores: ExpansionScores


class Expansion(KeptRecord):
    """Many images from one accepted candidate of a trial, or from several."""

    KIND: ClassVar[str] = "expansion"
    PLACE: ClassVar[str] = "expansions/{concept}/{address}/expansion.json"
    EVENT: ClassVar[str] = "expansion.finished"
    ADVICE: ClassVar[str] = "run `seedbank expand SEED`"

    key: str = Field(pattern=DIGEST)
    """Digest of everything that went in: trial, seeds, count, plan, code."""
    trial: str = Field(pattern=DIGEST)
    """Key of the trial that found the seeds."""
    finds: tuple[str, ...] = Field(min_length=1)
    """The seeds that were expanded."""
    asked: int
    """How many images were wanted."""
    prompt: str
    model: ModelCard
    guard: ModelCard
    encoder: ModelCard
    """Of the semantic loss."""
    sampler: SamplerConfig
    code_version: str
    images: tuple[KeptImage, ...]
    cosine: float
    """Between neighbours and the find, as it was found out."""
    probed: dict[str, float]
    """Share that was accepted, by cosine."""
    min_distance: float
    """Least distance between two images that was asked for."""
    needed: float
    """Nearness to the references under the guard that was asked for: at least the guard's threshold."""
    semantic_limit: float | None = None
    """Most semantic loss that was accepted; None for any."""
    acceptance_rate: float
    """Share of all seeds drawn that were accepted."""
    attempts: dict[SeedKind, Attempts]
    """How the attempts of each kind of seed ended."""
    vendi: float
    """Effective number of different images."""
    distances: Distances
    """Between every two images."""
    network_evaluations: int
    plain_samples_each: float
    """What one accepted image cost, in plain samples; 0 where none was accepted."""

    @property
    def address(self) -> str:
        """Its key."""
        return self.key

    @property
    def folder(self) -> str:
        """Key prefix of everything this expansion stored."""
        return expansion_folder(self.concept, self.key)


def expansion_folder(concept: str, key: str) -> str:
    """Key prefix of an expansion."""
    return f"expansions/{concept}/{key}"
