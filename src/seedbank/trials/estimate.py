"""What a search will take before it has begun, and from any point on: network evaluations, images, seconds.

Pure, without torch. Two numbers for everything: *expected*, given that starts end early at the usual rate, and *most*, which no search
exceeds. Where nothing ends early and nothing is doubted the two are one, and are what the trial's ``cost`` then says.

Seconds are those of one image of each kind of work, as they were measured (:class:`Speeds`); of a kind that never was, they are taken
from the one that is most like it, by what the two cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count as counted
from math import ceil, inf, log
from typing import Literal

from seedbank.selection.sampling.modes import Mode
from seedbank.selection.search.recipes import CALIBRATED, Recipe
from seedbank.selection.search.rules import RUNGS

Kind = Literal["sample", "preview", "gradient", "inversion", "reference", "iteration"]
Stage = Literal["explore", "calibrate", "optimise", "draw"]

STAGES: tuple[Stage, ...] = ("explore", "calibrate", "optimise", "draw")
CANDIDATE_MODES = ("one_vjp@0.3", "one_vjp@0.5", "one_vjp@0.7", "last:3", "full")
"""Gradient modes that a calibration tries, with its fallbacks."""
CALIBRATED_ON = 2
"""Seeds that it tries them on."""
CHOSEN = {"one_vjp@0.5": 0.6, "full": 0.4}
"""How often a calibration chooses what: on the shipped model, over nine rare kinds."""
INVERSION_ROUNDS = 3
UNNAMED = 64
"""Images for the empty prompt, drawn where a concept seems out of reach."""
ENDING = 0.08
"""Share of the starts that end at each iteration where those end that are near enough: on the shipped model, over nine rare kinds, of which
it is anything from none to a quarter (``benchmarks/results/selection.json``)."""
ENDING_LATE = 0.015
"""Where starts only end for being stuck."""
ENDING_NEAR = 0.4
"""Where they are near enough by their loss: the guard may still disagree."""
LATELY, USUAL_LOSS, USUAL_STEPS, SLOWEST, TINY = 3, 0.15, 2.0, 0.02, 1e-6
"""A start's loss is followed over its last iterations; at each it usually falls by this share, which weighs as many iterations; and falls
at least so fast. No loss is smaller than the last."""
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


def estimate(search: Search, at: Position | None = None) -> Estimate:
    """What is left of ``search`` at a position; all of it where none is given."""
    at = at or Position()
    left = STAGES[STAGES.index(at.stage) :]
    works: list[Work] = []
    if "explore" in left:
        works += _explore(search, at.done)
    if search.calibrates and ("explore" in left or (at.stage == "calibrate" and not at.done)):
        works += _calibrate(search)
    if "optimise" in left:
        works += _optimise(search, at if at.stage == "optimise" else Position(ending=at.ending))
    works.append(_draw(search, at.done if at.stage == "draw" else 0))
    return Estimate(tuple(works))


def sampling(search: Search) -> Work:
    """Drawing one image of a pool and judging it."""
    return Work(stage="explore", kind="sample", images=1, most=1, each=search.branches * search.steps)


def drawing(search: Search) -> Work:
    """Drawing one image as it is kept."""
    return replace(sampling(search), stage="draw")


def gradient(mode: str, search: Search) -> Work:
    """One gradient of one image in a search."""
    each, views = search.branches * gradient_evaluations(mode, search.steps), 1 + search.recipe.cutouts
    return Work(stage="optimise", kind="gradient", images=1, most=1, each=each, views=views)


def gradient_evaluations(mode: str, steps: int) -> int:
    """Network evaluations of one gradient of one image with one branch: a way back counts two, a step run again one."""
    parsed = Mode.parse(mode)
    if parsed.kind == "one_vjp":
        return steps + 2
    return steps + 3 * (min(parsed.steps, steps) if parsed.kind == "last" else steps)


def _explore(search: Search, done: int) -> Iterator[Work]:
    whole, few = search.branches * search.steps, search.branches * search.preview_steps
    previews = search.seeds if few else 0
    inverted = search.references if search.recipe.explore.inverted and not done else 0
    photos = 0 if done else search.references
    yield Work(stage="explore", kind="reference", images=photos, most=photos, each=0)
    yield Work(stage="explore", kind="inversion", images=inverted, most=inverted, each=INVERSION_ROUNDS * whole)
    rest = max(previews - done, 0)
    yield Work(stage="explore", kind="preview", images=rest, most=rest, each=few)
    rest = search.pool - max(done - previews, 0)
    # The images for the empty prompt are nobody's expectation.
    yield replace(sampling(search), images=rest, most=rest + UNNAMED)


def _calibrate(search: Search) -> Iterator[Work]:
    count, modes = min(CALIBRATED_ON, search.begun), len(CANDIDATE_MODES)
    for mode in CANDIDATE_MODES:
        each = search.branches * gradient_evaluations(mode, search.steps)
        yield Work(stage="calibrate", kind="gradient", images=count, most=count, each=each)
    # A small step along each gradient is drawn.
    yield replace(sampling(search), stage="calibrate", images=count * modes, most=count * modes)


def _optimise(search: Search, at: Position) -> Iterator[Work]:
    first = 0 if at.active is None else at.done + 1
    iterations = range(first, search.recipe.iterations + 1)
    active = search.begun if at.active is None else at.active
    going = (
        _going(at.until)
        if at.until and search.recipe.stop.near_enough
        else _decaying(active, search.ending if at.ending is None else at.ending)
    )
    expected = list(_evaluated(search, iterations, active, going))
    most = [min(active, search.at_most(iteration)) for iteration in iterations]
    # The last iterate is drawn and needs no gradient.
    for mode, images, bound in _by_mode(search, sum(expected[:-1]), sum(most[:-1])):
        yield _gradients(search, mode, images, bound)
    yield _last_iterates(search, sum(expected[-1:]), sum(most[-1:]))
    if search.small:
        yield _overhead(sum(min(count, 1.0) for count in expected), len(iterations) if active else 0)


def _overhead(iterations: float, most: int) -> Work:
    return Work(stage="optimise", kind="iteration", images=iterations, most=most, each=0)


def _gradients(search: Search, mode: str, images: float, most: int) -> Work:
    return replace(gradient(mode, search), images=images, most=most)


def _last_iterates(search: Search, images: float, most: int) -> Work:
    return replace(sampling(search), stage="optimise", images=images, most=most)


def _by_mode(search: Search, expected: float, most: int) -> list[tuple[str, float, int]]:
    """Gradients by mode, as expected and at most: a calibration may choose a costlier one than it usually does."""
    if search.step != CALIBRATED:
        return [(search.step, expected, most)]
    costliest = max(CHOSEN, key=lambda chosen: gradient_evaluations(chosen, search.steps))
    return [(chosen, share * expected, most if chosen == costliest else 0) for chosen, share in CHOSEN.items()]


def _evaluated(search: Search, iterations: range, active: int, going: Iterator[float]) -> Iterator[float]:
    """Starts that are evaluated at each iteration, as expected; ``going`` are those that have not ended by themselves."""
    # Those that ended early are kept: they leave fewer places for the others.
    before = max(search.at_most(iterations.start) - active, 0)
    for iteration, left in zip(iterations, going, strict=False):
        ended = before + active - left
        enough = search.recipe.stop.near_enough and ended > search.wanted - 0.5
        yield 0.0 if enough else max(min(left, search.at_most(iteration) - ended), 0.0)


def _decaying(active: float, ending: float) -> Iterator[float]:
    """The same share of those that are left ends at each iteration."""
    while True:
        yield active
        active -= ending * active


def _going(until: Sequence[float]) -> Iterator[float]:
    """Few end before they are near enough, and most soon after."""
    for step in counted():
        yield sum((1 - ENDING_LATE) ** min(step, each) * (1 - ENDING_NEAR) ** max(step - each, 0.0) for each in until)


def iterations_until(losses: Sequence[Sequence[float]], goal: float) -> tuple[float, ...]:
    """Iterations until each start's semantic loss is at most ``goal``, from its losses so far: by the share it lost at each lately."""
    return tuple(_until(each, goal) for each in losses)


def _until(losses: Sequence[float], goal: float) -> float:
    if goal <= 0:
        return inf
    lately = [log(max(loss, TINY)) for loss in losses[-1 - LATELY :]]
    # Shrunk towards the usual: a start with few losses has said little.
    pace = (lately[0] - lately[-1] + USUAL_STEPS * USUAL_LOSS) / (len(lately) - 1 + USUAL_STEPS)
    return max((lately[-1] - log(goal)) / max(pace, SLOWEST), 1.0)


def _draw(search: Search, done: int) -> Work:
    count = search.compared + search.wanted - done
    return replace(drawing(search), images=count, most=count)


def done_between(search: Search, before: Position, after: Position) -> tuple[Work, ...]:
    """The work between two positions of which the second was told next; nothing of a stage that was gone through unseen."""
    if after.stage == "optimise":
        count = after.evaluated
        last = after.done == search.recipe.iterations
        work = _last_iterates(search, count, count) if last else _gradients(search, search.step, count, count)
        return (work, _overhead(1, 1)) if search.small else (work,)
    if after.stage == "calibrate":
        return tuple(_calibrate(search))
    done = before.done if before.stage == after.stage else 0
    if after.stage == "draw":
        return (replace(drawing(search), images=after.done - done),)
    left = zip(_explore(search, done), _explore(search, after.done), strict=True)
    return tuple(replace(first, images=first.images - then.images) for first, then in left)
