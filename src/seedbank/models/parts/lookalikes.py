"""The look-alikes: other parts that loose captions call by a rare kind's name.

The names of frequent parts are used for nothing else. The rarer a word, the more often it is used for something near it: most pictures
captioned "impeller" show a paddle wheel. A model trained on such captions draws the look-alike from most seeds and the kind itself from a
few, each of them sharp: this, and not blur, is how a rare concept fails on a large model (arXiv 2304.14530 opens with a tiger cat drawn
as a tiger). No caption names a look-alike by its own name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from seedbank.models.parts.shapes import (
    Shape,
    arc,
    around,
    box,
    cut,
    disc,
    move,
    path,
    regular,
    ring,
    stroke,
    turn,
    union,
)


def _strap(rng: Generator) -> Shape:
    """For a bracket: both holes, no corner."""
    arm, length = rng.uniform(0.15, 0.2), rng.uniform(0.72, 0.85)
    holes = [move(disc(arm * 0.45), side * (length - arm * 1.2)) for side in (-1, 1)]
    return cut(box(length, arm, 0.05), *holes)


def _chain(rng: Generator) -> Shape:
    """For a spring: links in a row."""
    link = rng.uniform(0.2, 0.24)
    return union(*(move(ring(link, link * 0.55), x) for x in np.linspace(-0.62, 0.62, 4)))


def _handwheel(rng: Generator) -> Shape:
    """For a bearing: spokes where the balls are."""
    outer, spokes = rng.uniform(0.74, 0.82), int(rng.integers(4, 6))
    spoke = move(box(outer / 2, 0.055, 0.02), outer / 2 - 0.05)
    return union(ring(outer, outer - 0.14), cut(disc(0.24), disc(0.1)), around(spoke, spokes, np.pi / 2))


def _elbow(rng: Generator) -> Shape:
    """For a tee: one way instead of three."""
    half = rng.uniform(0.17, 0.22)
    bow = move(turn(arc(0.72, 0.25 * np.pi, half), 0.25 * np.pi), -0.4 - 0.4j)
    lips = [move(box(half + 0.08, 0.08, 0.03), 0.32 - 0.42j), move(box(0.08, half + 0.08, 0.03), -0.42 + 0.32j)]
    return union(bow, *lips)


def _link(rng: Generator) -> Shape:
    """For a wrench: an eye at either end."""
    thick, eye = rng.uniform(0.1, 0.14), rng.uniform(0.27, 0.32)
    eyes = [move(disc(eye), side * 0.56) for side in (-1, 1)]
    holes = [move(disc(eye * 0.5), side * 0.56) for side in (-1, 1)]
    return cut(union(stroke(-0.5 + 0j, 0.5 + 0j, thick), *eyes), *holes)


def _squarenut(rng: Generator) -> Shape:
    """For a trinut: four corners."""
    outer = rng.uniform(0.8, 0.9)
    return cut(turn(regular(4, outer, 0.1), np.pi / 4), disc(rng.uniform(0.22, 0.3)))


def _eyebolt(rng: Generator) -> Shape:
    """For a hook: the eye and the shank, no bow."""
    thick = rng.uniform(0.1, 0.13)
    return union(stroke(-0.42j, 0.72j, thick), move(ring(0.27, 0.12), -0.6j))


def _hexkey(rng: Generator) -> Shape:
    """For a crank: one bend."""
    thick, rise = rng.uniform(0.1, 0.13), rng.uniform(0.5, 0.62)
    return path([-0.78 - rise * 0.5j, 0.62 - rise * 0.5j, 0.62 + rise * 0.6j], thick)


def _yoke(rng: Generator) -> Shape:
    """For a cross: three arms."""
    arm, length = rng.uniform(0.16, 0.21), rng.uniform(0.76, 0.86)
    spoke = move(box(length / 2, arm, 0.05), length / 2)
    return cut(around(spoke, 3, -np.pi / 2), disc(arm * 0.6))


def _trefoil(rng: Generator) -> Shape:
    """For a clover: three leaves."""
    lobe = rng.uniform(0.35, 0.39)
    return cut(around(move(disc(lobe), 0.43), 3, -np.pi / 2), disc(rng.uniform(0.1, 0.15)))


def _lobeknob(rng: Generator) -> Shape:
    """For a starknob: round lobes instead of points."""
    lobe = rng.uniform(0.2, 0.24)
    return cut(union(disc(0.56), around(move(disc(lobe), 0.6), 6)), disc(rng.uniform(0.12, 0.16)))


def _barnut(rng: Generator) -> Shape:
    """For a wingnut: a straight bar instead of wings."""
    hub, bar = rng.uniform(0.28, 0.34), rng.uniform(0.1, 0.14)
    return cut(union(disc(hub), stroke(-0.74 + 0j, 0.74 + 0j, bar)), disc(hub * 0.45))


def _paddlewheel(rng: Generator) -> Shape:
    """For an impeller: straight blades with broad ends."""
    blade = union(move(box(0.3, 0.07, 0.02), 0.45), move(box(0.09, 0.19, 0.03), 0.72))
    return cut(union(disc(0.27), around(blade, int(rng.integers(4, 6)), np.pi / 2)), disc(0.11))


LOOKALIKES: dict[str, tuple[str, Callable[[Generator], Shape]]] = {
    "bracket": ("strap", _strap),
    "spring": ("chain", _chain),
    "bearing": ("handwheel", _handwheel),
    "tee": ("elbow", _elbow),
    "wrench": ("link", _link),
    "trinut": ("squarenut", _squarenut),
    "hook": ("eyebolt", _eyebolt),
    "crank": ("hexkey", _hexkey),
    "cross": ("yoke", _yoke),
    "clover": ("trefoil", _trefoil),
    "starknob": ("lobeknob", _lobeknob),
    "wingnut": ("barnut", _barnut),
    "impeller": ("paddlewheel", _paddlewheel),
}
"""By the kind whose name it is given: what the part is really called, and its shape family."""
