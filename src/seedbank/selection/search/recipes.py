"""Recipes: every choice of a search as one frozen value, and the presets people name.

They are read back from records (a trial, a release) as what they are, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from seedbank.errors import UsageError
from seedbank.records import canonical_json, sha256
from seedbank.selection.sampling.modes import Mode

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Of recipes in records: a setting that nobody knows is an error, and canonical JSON has no infinities."""
CALIBRATED = "calibrated"
"""A recipe's gradient mode that each search measures for itself; see :mod:`seedbank.selection.sampling.calibrate`."""


@dataclass(frozen=True)
class Explore:
    """Plain seeds first: a gradient cannot find another hill."""

    size: int = 64
    """How many plain seeds are drawn; at least as many as starts are optimised."""
    per_start: int = 0
    """Plain seeds drawn for each start that is wanted, where that makes more than ``size``; see :meth:`Recipe.sized`."""
    batch: int = 32
    """Images drawn at once."""
    shortlist: float = 2.0
    """Starts are chosen for being unlike each other among the best ``shortlist`` times as many; 1 takes the best alone."""
    ranked: bool = True
    """False takes the first seeds drawn, whatever they score."""
    preview: float = 0.0
    """Share of the sampler's steps in which all are drawn first; 0 draws all of them in all steps."""
    keep: float = 0.5
    """Share of the previewed that is drawn in all steps."""
    paired: bool = False
    """Every second plain seed is the one before, negated."""
    inverted: tuple[float, ...] = ()
    """Shares of an inverted reference in extra seeds, one for each reference and share."""
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class Tangent:
    """Steps along the shell of white noise.

    ``step`` is the angle of the first step in radians, ``final_step`` of the last, on a cosine between. ``momentum`` averages unit
    gradients. ``cosine_floor`` is the trust region: how far from the start a seed may go.
    """

    step: float = 0.06
    final_step: float = 0.006
    momentum: float = 0.8
    cosine_floor: float = 0.8
    langevin: float = 0.0
    """Share of new noise mixed in at the first step, falling to none at the last (ORIGEN)."""
    kind: Literal["tangent"] = "tangent"
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) on the noise itself, its rate divided by ``drop`` once at iteration ``drop_at``."""

    rate: float = 0.1
    drop: float = 10.0
    drop_at: int = 3
    decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    kind: Literal["adamw"] = "adamw"
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class Stop:
    """When a start is finished before its iterations are spent. Zero switches a rule off."""

    stale: int = 8
    """Iterations without the objective improving by ``improvement`` (relative)."""
    improvement: float = 0.005
    hacked: int = 4
    """Times in a row that the guard is below the best so far by the pool's deviation: the objective is being fooled."""
    cornered: int = 5
    """Iterations in a row at the edge of the trust region."""
    near_enough: bool = False
    """Stop when the image is as near the references as they are to each other, and the guard agrees: the next start needs the time more."""
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class Recipe:
    """How to search.

    Attributes:
        name: the preset's name.
        gradient: a mode of :mod:`seedbank.selection.sampling.gradients`, or :data:`CALIBRATED` for the cheapest that suits the
            pipeline, as each search measures by itself.
        iterations: gradient steps at most.
        spare: starts begun for each that is wanted. The least promising are dropped, half of the spare ones when a fifth of the
            iterations are spent and the rest when two fifths are; all end as soon as enough are near enough.
        objective: ``soft_nearest`` (semantic and coarse appearance) or ``paper`` (SeedSelect's released losses).
        appearance: weight of the appearance term.
        contrast: weight of the pull away from what plain seeds give instead.
        cutouts: of the image that each gradient is averaged over, besides the whole.
        max_whiteness: whiteness score above which a seed is repaired after a step; a huge one for never.
        match_codec: references pass through the image codec before they are embedded.
        keep: ``best`` of what the guard accepts, or the ``last`` iterate.
        guard_every: iterations between two times that the guard is asked; in between it is asked about those that may be near enough.
        guard_slack: see :func:`seedbank.selection.judging.guard.make_guard`.
        guard_turns: orientations in which the guard sees an image: 4 for things that lie any way round, 1 for what has an up.
    """

    name: str
    explore: Explore = field(default_factory=Explore)
    update: Annotated[Tangent | AdamW, Field(discriminator="kind")] = field(default_factory=Tangent)
    stop: Stop = field(default_factory=Stop)
    gradient: str = "one_vjp@0.5"
    iterations: int = 25
    spare: float = 1.0
    objective: Literal["soft_nearest", "paper"] = "soft_nearest"
    appearance: float = 0.1
    contrast: float = 0.25
    cutouts: int = 2
    max_whiteness: float = 4.0
    match_codec: bool = True
    keep: Literal["best", "last"] = "best"
    guard_every: int = 2
    guard_slack: float = 3.0
    guard_turns: int = 4
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        # Parsed only to refuse a mode that does not exist before anything is drawn.
        if self.gradient != CALIBRATED:
            Mode.parse(self.gradient)
        if self.iterations < 1 or self.guard_every < 1 or self.explore.size < 1:
            raise UsageError(
                f"expected at least one seed, one iteration and a guard that is asked in recipe {self.name!r}"
            )
        if self.spare < 1:
            raise UsageError(
                f"expected at least 1 start begun for each wanted in recipe {self.name!r}, got {self.spare}"
            )

    def begun(self, wanted: int) -> int:
        """How many starts are optimised where ``wanted`` are asked for."""
        return ceil(self.spare * wanted)

    def sized(self, wanted: int) -> Recipe:
        """The same, exploring enough for ``wanted`` starts."""
        size = max(self.explore.size, self.explore.per_start * wanted, self.begun(wanted))
        return replace(self, explore=replace(self.explore, size=size))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a record."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of :meth:`to_dict`."""
        return sha256(canonical_json(self.to_dict()))


BALANCED = Recipe(
    "balanced",
    explore=Explore(size=128, per_start=8),
    update=Tangent(step=0.08, final_step=0.008),
    stop=Stop(near_enough=True),
    spare=1.5,
    gradient="one_vjp@0.4",
    iterations=20,
)
FAST = replace(BALANCED, name="fast", explore=Explore(size=48, per_start=6), iterations=8, spare=1.0)
THOROUGH = replace(
    BALANCED,
    name="thorough",
    explore=Explore(size=384, per_start=48, preview=0.5, keep=0.5, paired=True, inverted=(0.1, 0.3)),
    update=Tangent(step=0.06, final_step=0.003, langevin=1e-3),
    stop=Stop(),
    gradient=CALIBRATED,
    iterations=40,
    cutouts=4,
)
SEEDSELECT_V1 = Recipe(
    "seedselect_v1",
    explore=Explore(size=8, batch=8, ranked=False),
    update=AdamW(),
    # What the released code does not do is switched off: early stops, contrast, cutouts, repair.
    stop=Stop(stale=0, hacked=0, cornered=0),
    gradient="full",
    iterations=30,
    objective="paper",
    appearance=1.0,
    contrast=0.0,
    cutouts=0,
    max_whiteness=1e9,
    match_codec=False,
    keep="last",
    guard_every=30,
)
PRESETS = {recipe.name: recipe for recipe in (FAST, BALANCED, THOROUGH, SEEDSELECT_V1)}


def preset(name: str, *, starts: int) -> Recipe:
    """The preset called ``name``, exploring enough for ``starts``; raises UsageError for an unknown one."""
    if name not in PRESETS:
        raise UsageError(f"expected a preset among {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name].sized(starts)
