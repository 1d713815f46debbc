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
from seedbank.selection.records import Calibration, Cost, PoolStatistics, SamplerConfig, Scores
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


class Expanded(Record):
    """One accepted picture. Lower is nearer for ``apart`` and better for ``semantic``; higher is better for ``guard``."""

    seed: str = Field(pattern=DIGEST)
    image: str = Field(pattern=DIGEST)
    """SHA-256 of the PNG file."""
    pixels: str = Field(pattern=DIGEST)
    """SHA-256 of ``HxWx3`` and the raw RGB bytes: what a replay compares."""
    guard: float
    copy_score: float
    semantic: float
    """Semantic loss under the objective's encoder."""
    apart: float
    """Distance to the nearest picture accepted before it, under the guard; 2 for the first."""
    cosine: float
    """To its nearest parent."""
    norm_z: float
    whiteness: float


class Tally(Record):
    """How the tries of one kind of seed ended."""

    drawn: int
    accepted: int
    alike: int
    undone: int


class ExpansionRecord(KeptRecord):
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
    images: tuple[Expanded, ...]
    cosine: float
    """Between neighbours and the find, as it was found out."""
    probed: dict[str, float]
    """Share that was accepted, by cosine."""
    apart: float
    """Least distance between two pictures that was asked for."""
    bar: float
    """Nearness to the references under the guard that was asked for: at least the guard's threshold."""
    semantic_limit: float | None = None
    """Most semantic loss that was accepted; None for any."""
    acceptance: float
    """Share of all seeds drawn that were accepted."""
    tried: dict[str, Tally]
    vendi: float
    """Effective number of different pictures."""
    distances: tuple[float, float, float]
    """Least, mean and largest distance between two pictures."""
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
