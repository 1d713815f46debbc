"""What is told of a model profile that was checked on a machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from seedbank.errors import RefusedError
from seedbank.selection.records import Calibration, SamplerConfig

ONE_LEVEL = 1
"""Of 255: what two ways to add up in float32 may differ by."""
SAME_IMAGE = 8.0
"""Mean difference in levels up to which two images in half precision are one: a pipeline rounds latents between steps, we do not."""


@dataclass(frozen=True)
class Judge:
    """One network of a judge: what it is for, its name, its family."""

    part: str
    name: str
    family: str


@dataclass(frozen=True)
class Tokens:
    """How many tokens of a prompt one of the pipeline's tokenizers makes, and how many it takes."""

    tokenizer: str
    count: int
    limit: int


@dataclass(frozen=True)
class Comparison:
    """The stock pipeline's image beside ours, of one noise, in levels of 255."""

    most: int
    mean: float
    precision: str

    @property
    def same(self) -> bool:
        """Whether they are one image."""
        return self.most <= ONE_LEVEL if self.precision == "float32" else self.mean <= SAME_IMAGE


@dataclass(frozen=True)
class Measured:
    """What images took, so many at once: seconds of one, MiB that were held before them, and the most that all together added.

    The latter two are None where the system does not say.
    """

    seconds: float
    batch: int
    before_mib: float | None
    added_mib: float | None

    def mib(self, count: int) -> float | None:
        """The most that is held with ``count`` images at once."""
        if self.before_mib is None or self.added_mib is None:
            return None
        return self.before_mib + self.added_mib * count / self.batch


@dataclass(frozen=True)
class PresetCost:
    """What a trial of one preset takes here, as expected and at most."""

    preset: str
    images: int
    gradients: int
    network_evaluations: int
    most_network_evaluations: int
    seconds: float
    most_seconds: float
    mib: float | None


@dataclass(frozen=True)
class Check:
    """Everything that a check found.

    Attributes:
        profile: its name.
        device: what computes.
        family: class of the pipeline.
        sampler: as it will be sampled, what the family usually does filled in.
        notes: what is not as the repository ships it, or should be known.
        judges: every network that judges.
        prompt: what was drawn.
        tokens: of it.
        cut: what of it the model does not see.
        comparison: with the stock pipeline; None where not all of its parts fit on the device at once.
        memory: the plan for a card's memory, in words.
        sample: drawing and judging one image.
        gradient: of one image, in the mode that suits.
        mode: that mode.
        calibration: why; None where it was not asked.
        advice: what to write into the profile, if anything.
        candidates: starts that a trial optimises.
        presets: what a trial takes.
    """

    profile: str
    device: str
    family: str
    sampler: SamplerConfig
    notes: tuple[str, ...]
    judges: tuple[Judge, ...]
    prompt: str
    tokens: tuple[Tokens, ...]
    cut: str
    comparison: Comparison | None
    memory: str
    sample: Measured
    gradient: Measured
    mode: str
    calibration: Calibration | None
    advice: str
    candidates: int
    presets: tuple[PresetCost, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        found = asdict(replace(self, calibration=None))
        calibration = self.calibration and self.calibration.model_dump(mode="json")
        return {**found, "sampler": self.sampler.model_dump(mode="json"), "calibration": calibration}

    def refusal(self) -> RefusedError | None:
        """Why this model should not be searched with, if so."""
        beside = self.comparison
        if beside is None or beside.same:
            return None
        allowed = f"{ONE_LEVEL} level" if beside.precision == "float32" else f"{SAME_IMAGE:g} levels on average"
        return RefusedError(
            f"expected the image of the stock {self.family} within {allowed} of 255, got one that differs by up to {beside.most} "
            f"and {beside.mean:.2f} on average; seeds found here would draw something else there: try precision: float32 in the "
            "profile, and report the model if that does not help"
        )
