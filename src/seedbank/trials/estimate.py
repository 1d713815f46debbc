"""What a search will take before it has begun, and from any point on: network evaluations, images, seconds.

Pure, without torch. Two numbers for everything: *expected*, given that starts end early at the usual rate, and *most*, which no search
exceeds. Where nothing ends early and nothing is doubted the two are one, and are what the trial's ``cost`` then says.

Seconds are those of one image of each kind of work, as they were measured (:class:`Speeds`); of a kind that never was, they are taken
from the one that is most like it, by what the two cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count as counted
from math import inf, log

from seedbank.selection.sampling.modes import Mode
from seedbank.selection.search.recipes import CALIBRATED
from seedbank.trials.workload import ENDING_LATE, Estimate, Position, Search, Stage, Work

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
ENDING_NEAR = 0.4
"""Where they are near enough by their loss: the guard may still disagree."""
LATELY, USUAL_LOSS, USUAL_STEPS, SLOWEST, TINY = 3, 0.15, 2.0, 0.02, 1e-6
"""A start's loss is followed over its last iterations; at each it usually falls by this share, which weighs as many iterations; and falls
at least so fast. No loss is smaller than the last."""


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
