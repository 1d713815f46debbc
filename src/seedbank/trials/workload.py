"""How much work a search is: what decides it, where it stands, kinds of work, and the seconds that each takes.

Pure, without torch. :mod:`.estimate` says how much of which work a search needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

from seedbank.selection.search.recipes import CALIBRATED, Recipe
from seedbank.selection.search.rules import RUNGS

Kind = Literal["sample", "preview", "gradient", "inversion", "reference", "iteration"]
Stage = Literal["explore", "calibrate", "optimise", "draw"]

ENDING = 0.08
"""Share of the starts that end at each iteration where those end that are near enough: on the shipped model, over nine rare kinds, of which
it is anything from none to a quarter (``benchmarks/results/selection.json``)."""
ENDING_LATE = 0.015
"""Where starts only end for being stuck."""
BELIEF = 6
"""Evaluations of a start in a search that weigh as much as these."""
LOOK, GRADIENT_LOOK, VIEW = 2.0, 3.0, 0.5
"""Network evaluations that looking at an image takes as long as, where nothing better is known: decoding and judging it; that with its
way back; and each further view of it."""
REFERENCE, ITERATION = 24.0, 30.0
"""Likewise of one photo, before anything is drawn; and of an iteration beside its gradients, where images are small. All on the shipped
model."""
FIXED: Mapping[str, float] = {"reference": REFERENCE, "iteration": ITERATION}
"""Kinds of work that need no network evaluation, and what they weigh."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What decides how much work a search is.

    Attributes:
        recipe: sized for the starts that are wanted.
        starts: how many seeds are to be found.
        plain: plain images drawn for comparison.
        steps: of the sampler.
        branches: of guidance; 2 where images are guided by comparison.
        references: photos, each of which is inverted where the recipe says so.
        small: images are drawn many at once, so that few take nearly as long as many.
        mode: the gradient mode where it is known; else the recipe's.
    """

    recipe: Recipe
    starts: int
    plain: int
    steps: int
    branches: int = 1
    references: int = 0
    small: bool = False
    mode: str = ""

    @property
    def seeds(self) -> int:
        """How many are explored."""
        return self.recipe.explore.size + len(self.recipe.explore.inverted) * self.references

    @property
    def begun(self) -> int:
        """Starts that are optimised at first."""
        return min(self.recipe.begun(self.starts), self.pool)

    @property
    def wanted(self) -> int:
        """Starts that are kept."""
        return min(self.starts, self.begun)

    @property
    def pool(self) -> int:
        """Seeds that are drawn in all their steps."""
        return max(1, round(self.recipe.explore.keep * self.seeds)) if self.preview_steps else self.seeds

    @property
    def preview_steps(self) -> int:
        """Of a preview; 0 where there are none."""
        share = self.recipe.explore.preview
        few = max(1, round(share * self.steps))
        return few if share and few < self.steps else 0

    @property
    def step(self) -> str:
        """The gradient mode, as far as it is known."""
        return self.mode or self.recipe.gradient

    @property
    def compared(self) -> int:
        """Plain images that are drawn for comparison."""
        return min(self.plain, self.recipe.explore.size)

    @property
    def calibrates(self) -> bool:
        """Whether the search measures which gradient suits."""
        return self.recipe.gradient == CALIBRATED

    @property
    def ending(self) -> float:
        """The usual share of starts that end at an iteration."""
        stop = self.recipe.stop
        if stop.near_enough:
            return ENDING
        return ENDING_LATE if stop.stale or stop.hacked or stop.cornered else 0.0

    def ending_after(self, ended: float, evaluated: float) -> float:
        """That share in a search of whose starts so many ended by themselves, in so many evaluations."""
        return (BELIEF * self.ending + ended) / (BELIEF + evaluated)

    def at_most(self, iteration: int) -> int:
        """Starts that are still there at an iteration, by the rungs at which spare ones are dropped."""
        spare = self.begun - self.wanted
        kept = [
            self.wanted + ceil(share * spare)
            for fifths, share in RUNGS.items()
            if iteration > fifths * self.recipe.iterations // 5
        ]
        return min([self.begun, *kept])


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a search stands.

    Attributes:
        stage: which is under way.
        done: units of it, as a trial's progress counts them: images, and of optimisation the number of the last iteration.
        active: starts that go on; None where none has been evaluated.
        ending: share of the starts that end at an iteration; None for the usual.
        evaluated: starts that were evaluated last.
        ended: starts that ended by themselves so far.
        until: iterations until each of those that go on is near enough, as expected; empty where that is not known.
    """

    stage: Stage = "explore"
    done: int = 0
    active: int | None = None
    ending: float | None = None
    evaluated: int = 0
    ended: int = 0
    until: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Work:
    """One kind of work of one stage.

    Attributes:
        stage: which.
        kind: what is done with an image.
        images: as expected.
        most: at most.
        each: network evaluations of one image.
        views: of it that a gradient is averaged over.
    """

    stage: Stage
    kind: Kind
    images: float
    most: int
    each: int
    views: int = 1

    @property
    def name(self) -> str:
        """Under which its speed is kept: work of one name takes equally long."""
        if self.kind == "gradient":
            return f"gradient of {self.each} evaluations, {self.views} views"
        if self.kind in FIXED:
            return self.kind
        return "drawing" if self.stage == "draw" else f"{self.kind} of {self.each} evaluations"

    @property
    def weight(self) -> float:
        """What one image takes in network evaluations, about, all included."""
        if self.kind in FIXED:
            return FIXED[self.kind]
        if self.kind == "inversion":
            return self.each
        return self.each + (GRADIENT_LOOK + VIEW * (self.views - 1) if self.kind == "gradient" else LOOK)


@dataclass(frozen=True)
class Speeds:
    """Seconds that one image of each kind of work takes, by :attr:`Work.name`, with the weight that each stands for."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def of(self, work: Work) -> float | None:
        """Seconds of one image; None where nothing was ever measured."""
        if work.name in self.seconds:
            return self.seconds[work.name]
        drawn = [name for name in self.seconds if name not in FIXED]
        near = [name for name in drawn if name.startswith("gradient") == (work.kind == "gradient")]
        known = near or drawn
        if not known:
            return None
        most_alike = min(known, key=lambda name: abs(self.weights[name] - work.weight))
        return self.seconds[most_alike] * work.weight / self.weights[most_alike]

    def with_measured(self, work: Work, seconds: float) -> Speeds:
        """These and one more; ``seconds`` of one image."""
        return Speeds({**self.seconds, work.name: seconds}, {**self.weights, work.name: work.weight})


@dataclass(frozen=True)
class Estimate:
    """What a search, or the rest of one, will take."""

    works: tuple[Work, ...]

    @property
    def network_evaluations(self) -> float:
        """As expected."""
        return sum(work.images * work.each for work in self.works)

    @property
    def most_network_evaluations(self) -> int:
        """At most."""
        return sum(work.most * work.each for work in self.works)

    @property
    def images(self) -> float:
        """Images that are drawn and looked at, as expected, with and without a gradient."""
        return sum(work.images for work in self.works if work.kind in ("sample", "preview", "gradient"))

    @property
    def gradients(self) -> float:
        """How many of these with a gradient."""
        return sum(work.images for work in self.works if work.kind == "gradient")

    def seconds(self, speeds: Speeds) -> float | None:
        """As expected; None where no speed is known."""
        return _sum((work.images, speeds.of(work)) for work in self.works)

    def most_seconds(self, speeds: Speeds) -> float | None:
        """At most, likewise."""
        return _sum((work.most, speeds.of(work)) for work in self.works)


def _sum(parts: Iterable[tuple[float, float | None]]) -> float | None:
    total = 0.0
    for count, each in parts:
        if each is None:
            return None
        total += count * each
    return total
