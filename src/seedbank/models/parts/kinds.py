"""The twenty kinds of machine parts, each a family of shapes drawn from a random generator.

A part fits the disc of radius 1 about the origin and lies as a catalogue would show it: long parts along the x axis.
Kinds are listed from the most to the least frequent in the world. Several rare ones resemble a more frequent one, which a model
that has seen too few of them mixes in (measured in ``weights/MODEL_CARD.md``).
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np
from numpy.random import Generator

from seedbank.models.parts.shapes import (
    Shape,
    arc,
    around,
    blend,
    box,
    cut,
    disc,
    move,
    path,
    polygon,
    regular,
    ring,
    star,
    stroke,
    turn,
    union,
)


def _washer(rng: Generator) -> Shape:
    outer = rng.uniform(0.66, 0.8)
    return ring(outer, outer * rng.uniform(0.42, 0.58))


def _thread(start: float, end: float, radius: float, tip: float, pitch: float = 0.14) -> Shape:
    """Slanted ridges along the x axis from `start` to `end`, narrowing from `radius` to `tip`."""
    places = np.arange(start, end, pitch)
    widths = np.interp(places, [start, end], [radius, tip])
    return union(
        *(stroke(complex(x - 0.03, -w), complex(x + 0.03, w), 0.4 * pitch) for x, w in zip(places, widths, strict=True))
    )


def _bolt(rng: Generator) -> Shape:
    radius, head = rng.uniform(0.17, 0.22), rng.uniform(0.42, 0.5)
    neck = move(box(0.36, radius, 0.03), -0.38)
    core = stroke(-0.1 + 0j, 0.84 + 0j, radius * 0.75)
    return union(move(box(0.17, head, 0.06), -0.7), neck, core, _thread(0.08, 0.9, radius, radius, 0.16))


def _hexnut(rng: Generator) -> Shape:
    outer = rng.uniform(0.7, 0.82)
    return cut(regular(6, outer, 0.04), disc(outer * rng.uniform(0.42, 0.52)))


def _rod(rng: Generator) -> Shape:
    return box(rng.uniform(0.8, 0.95), rng.uniform(0.14, 0.2), 0.06)


def _plate(rng: Generator) -> Shape:
    width, height = rng.uniform(0.66, 0.78), rng.uniform(0.46, 0.58)
    hole, inset = rng.uniform(0.07, 0.1), 0.2
    corners = [complex(x * (width - inset), y * (height - inset)) for x in (-1, 1) for y in (-1, 1)]
    return cut(box(width, height, 0.1), *(move(disc(hole), c) for c in corners))


def _screw(rng: Generator) -> Shape:
    radius, head = rng.uniform(0.14, 0.19), rng.uniform(0.34, 0.42)
    cone = polygon(
        [
            -0.8 - head * 1j,
            -0.74 - head * 1j,
            -0.44 - radius * 1j,
            -0.44 + radius * 1j,
            -0.74 + head * 1j,
            -0.8 + head * 1j,
        ],
        0.03,
    )
    return union(cone, stroke(-0.45 + 0j, 0.86 + 0j, radius * 0.7, 0.01), _thread(-0.32, 0.72, radius, 0.03))


def _gear(rng: Generator) -> Shape:
    teeth, hole = int(rng.integers(9, 13)), rng.uniform(0.18, 0.28)
    half = 1.45 / teeth
    tooth = polygon([0.5 - half * 1j, 0.78 - half * 0.5j, 0.78 + half * 0.5j, 0.5 + half * 1j], 0.015)
    return cut(union(disc(0.6), around(tooth, teeth)), disc(hole))


def _bracket(rng: Generator) -> Shape:
    arm, length = rng.uniform(0.15, 0.2), rng.uniform(0.58, 0.68)
    corner = complex(-length + arm, length - arm)
    upright = move(box(arm, length, 0.05), complex(corner.real, 0))
    foot = move(box(length, arm, 0.05), complex(0, corner.imag))
    ends = [complex(corner.real, -length + arm * 1.2), complex(length - arm * 1.2, corner.imag)]
    return cut(union(upright, foot), *(move(disc(arm * 0.45), end) for end in ends))


def _spring(rng: Generator) -> Shape:
    coils, height = int(rng.integers(5, 8)), rng.uniform(0.28, 0.38)
    xs = np.linspace(-0.74, 0.74, 2 * coils + 1)
    return path([complex(x, height * (-1) ** k) for k, x in enumerate(xs)], rng.uniform(0.055, 0.07))


def _bearing(rng: Generator) -> Shape:
    balls, outer = int(rng.integers(7, 10)), rng.uniform(0.74, 0.82)
    race, track = 0.13, outer * 0.66
    ball = move(disc(min(0.115, track * np.sin(pi / balls) * 0.85)), track)
    return union(ring(outer, outer - race), ring(track - 0.12, track - 0.25), around(ball, balls))


def _tee(rng: Generator) -> Shape:
    half, flange = rng.uniform(0.17, 0.22), 0.07
    run, leg = box(0.74, half, 0.03), move(box(half, 0.4, 0.03), 0.38j)
    lips = [move(box(flange, half + 0.07, 0.03), x) for x in (-0.72, 0.72)]
    return union(blend(run, leg, 0.08), *lips, move(box(half + 0.07, flange, 0.03), 0.74j))


def _wrench(rng: Generator) -> Shape:
    handle, head = rng.uniform(0.1, 0.14), rng.uniform(0.3, 0.36)
    jaw = move(turn(box(0.26, head * 0.48, 0.03), -0.25), 0.74 - 0.07j)
    shaft = blend(stroke(-0.6 + 0j, 0.5 + 0j, handle), move(disc(head), 0.5), 0.15)
    return cut(union(shaft, move(disc(handle * 1.9), -0.64)), jaw, move(disc(handle * 0.9), -0.64))


def _trinut(rng: Generator) -> Shape:
    outer = rng.uniform(0.84, 0.94)
    return move(turn(cut(regular(3, outer, 0.1), disc(rng.uniform(0.2, 0.26))), -pi / 2), 0.12j)


def _hook(rng: Generator) -> Shape:
    thick, bow = rng.uniform(0.1, 0.13), rng.uniform(0.34, 0.4)
    curve = move(turn(arc(bow, 0.62 * pi, thick), 0.35 * pi), 0.36j)
    shank_x = bow * np.cos(0.35 * pi - 0.62 * pi)
    top = 0.36j + bow * np.exp(1j * (0.35 - 0.62) * pi)
    return union(
        curve, stroke(top, complex(shank_x * 0.4, -0.45), thick), move(ring(0.25, 0.11), complex(shank_x * 0.4, -0.62))
    )


def _crank(rng: Generator) -> Shape:
    thick, rise = rng.uniform(0.1, 0.13), rng.uniform(0.4, 0.5)
    bends = [-0.84 + rise * 1j, -0.12 + rise * 1j, 0.12 - rise * 1j, 0.6 - rise * 1j]
    return union(path(bends, thick), move(box(0.16, thick * 1.9, 0.06), 0.74 - rise * 1j))


def _cross(rng: Generator) -> Shape:
    arm, length = rng.uniform(0.16, 0.21), rng.uniform(0.72, 0.82)
    return cut(union(box(length, arm, 0.05), box(arm, length, 0.05)), disc(arm * 0.6))


def _clover(rng: Generator) -> Shape:
    lobe = rng.uniform(0.34, 0.38)
    return cut(around(move(disc(lobe), 0.42), 4, pi / 4), disc(rng.uniform(0.1, 0.15)))


def _starknob(rng: Generator) -> Shape:
    outer = rng.uniform(0.86, 0.94)
    return cut(turn(star(5, outer, outer * rng.uniform(0.46, 0.52), 0.05), -pi / 2), disc(rng.uniform(0.11, 0.15)))


def _wingnut(rng: Generator) -> Shape:
    spread, hub = rng.uniform(0.4, 0.52), rng.uniform(0.26, 0.31)
    wings = [stroke(side * 0.22 + 0.1j, side * 0.66 - spread * 1j, 0.11, 0.2) for side in (-1, 1)]
    return cut(union(move(disc(hub), 0.2j), *wings), move(disc(hub * 0.45), 0.2j))


def _impeller(rng: Generator) -> Shape:
    blades, sweep = int(rng.integers(5, 7)), rng.uniform(0.8, 1.0)
    bow = [(0.18 + 0.6 * t) * np.exp(1j * sweep * t * t) for t in np.linspace(0, 1, 5)]
    blade = path(bow, 0.085)
    turned = [turn(blade, 2 * pi * k / blades) for k in range(blades)]
    return cut(union(disc(0.27), *turned), disc(0.11))


FAMILIES: dict[str, Callable[[Generator], Shape]] = {
    "washer": _washer,
    "bolt": _bolt,
    "hexnut": _hexnut,
    "rod": _rod,
    "plate": _plate,
    "screw": _screw,
    "gear": _gear,
    "bracket": _bracket,
    "spring": _spring,
    "bearing": _bearing,
    "tee": _tee,
    "wrench": _wrench,
    "trinut": _trinut,
    "hook": _hook,
    "crank": _crank,
    "cross": _cross,
    "clover": _clover,
    "starknob": _starknob,
    "wingnut": _wingnut,
    "impeller": _impeller,
}
"""Shape family by kind, most frequent first. A family draws one member from a generator."""
