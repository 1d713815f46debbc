"""Hundreds of other parts that the world does not have, to train judges that must not know the world's kinds.

Kind number ``k`` of the zoo is a recipe drawn from ``k`` alone; every image of it varies the recipe a little, as the world's
kinds do. The recipes leave out what would come out as one of the world's kinds (plain crosses, five-pointed stars, holed
triangles, four-lobed clovers and the like).
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np
from numpy.random import Generator
from PIL import Image

from seedbank.models.parts.shapes import (
    Shape,
    arc,
    around,
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
from seedbank.models.parts.world import draw_scene, photograph

ZOO_SEED = 77


def zoo_render(number: int, index: int, seed: int = ZOO_SEED, size: int = 64) -> Image.Image:
    """Image `index` of zoo kind `number`, `size` x `size` RGB; a pure function of its integers."""
    rng = np.random.default_rng([seed, 1, number, index])
    return photograph(zoo_shape(number, rng), draw_scene(rng), rng, size)


def zoo_shape(number: int, rng: Generator) -> Shape:
    """One member of zoo kind `number`: the kind's recipe with its measures varied by a few percent from `rng`."""
    recipe = np.random.default_rng([ZOO_SEED, 0, number])
    family = _FAMILIES[number % len(_FAMILIES)]
    return turn(family(recipe, lambda: float(rng.uniform(0.94, 1.06))), float(recipe.uniform(-pi, pi)))


Jitter = Callable[[], float]


def _wheel(recipe: Generator, jitter: Jitter) -> Shape:
    """A disc with odd teeth and two to three off-centre holes, or none."""
    teeth, reach = int(recipe.choice([3, 5, 6, 7, 8])), recipe.uniform(0.66, 0.9)
    body, half = recipe.uniform(0.4, 0.58), recipe.uniform(0.6, 1.2) / teeth
    tooth = move(box(reach / 2 * jitter(), half * jitter(), 0.03), reach / 2)
    holes = int(recipe.choice([0, 2, 3]))
    hole = move(disc(0.11 * jitter()), body * 0.6)
    wheel = union(disc(body * jitter()), around(tooth, teeth))
    return cut(wheel, around(hole, holes)) if holes else wheel


def _blob(recipe: Generator, jitter: Jitter) -> Shape:
    """A random irregular polygon, sometimes with a hole."""
    corners = int(recipe.integers(3, 8))
    angles = np.sort(recipe.uniform(0, 2 * pi, corners)) * 0.4 + np.arange(corners) * 2 * pi / corners * 0.6
    radii = recipe.uniform(0.35, 0.9, corners)
    outline = [r * jitter() * np.exp(1j * a) for r, a in zip(radii, angles, strict=True)]
    hole = move(disc(recipe.uniform(0.08, 0.18) * jitter()), recipe.uniform(-0.1, 0.1) + 0.1j)
    solid = polygon(outline, recipe.uniform(0.0, 0.08))
    return cut(solid, hole) if recipe.random() < 0.4 else solid


def _wire(recipe: Generator, jitter: Jitter) -> Shape:
    """A bent wire of three to six corners with a fitting on one end."""
    count = int(recipe.integers(3, 7))
    xs = np.linspace(-0.75, 0.75, count)
    corners = [complex(x, y * jitter()) for x, y in zip(xs, recipe.uniform(-0.6, 0.6, count), strict=True)]
    wire = path(corners, recipe.uniform(0.06, 0.13) * jitter())
    fittings = [disc(0.2 * jitter()), ring(0.24, 0.11 * jitter()), box(0.22, 0.14 * jitter(), 0.03), disc(0.05)]
    return union(wire, move(fittings[int(recipe.integers(4))], corners[-1]))


def _frame(recipe: Generator, jitter: Jitter) -> Shape:
    """Three to five bars, upright and lying, as in a profile or a letter."""
    bars = []
    for _ in range(int(recipe.integers(3, 6))):
        along, across = recipe.uniform(0.25, 0.7) * jitter(), recipe.uniform(0.08, 0.16) * jitter()
        lies = recipe.random() < 0.5
        place = complex(*recipe.uniform(-0.55, 0.55, 2))
        bars.append(move(box(along, across, 0.03) if lies else box(across, along, 0.03), place * 0.8))
    return union(*bars)


def _rosette(recipe: Generator, jitter: Jitter) -> Shape:
    """Arms, lobes or bent blades about a hub, in counts the world does not use for them."""
    arms, reach = int(recipe.choice([2, 3, 5, 7, 8])), recipe.uniform(0.6, 0.85)
    thick, sweep = recipe.uniform(0.06, 0.14), recipe.uniform(-0.6, 0.6)
    tip = reach * np.exp(1j * sweep) * jitter()
    heads = [disc(thick * 1.9 * jitter()), box(thick * 1.6, thick * 1.6, 0.02), disc(thick)]
    arm = union(stroke(0.15 + 0j, tip, thick * jitter()), move(heads[int(recipe.integers(3))], tip))
    hub = disc(recipe.uniform(0.18, 0.36) * jitter())
    return union(hub, *(turn(arm, 2 * pi * k / arms) for k in range(arms)))


def _slab(recipe: Generator, jitter: Jitter) -> Shape:
    """A regular polygon, star or bar with a non-round cut-out or a row of holes."""
    sides = int(recipe.choice([4, 5, 7, 8]))
    solids = [
        regular(sides, 0.8 * jitter(), 0.05),
        star(int(recipe.choice([4, 6, 7, 8])), 0.88 * jitter(), recipe.uniform(0.4, 0.62), 0.03),
        box(0.8 * jitter(), recipe.uniform(0.25, 0.5), recipe.uniform(0.02, 0.2)),
    ]
    holes = [
        box(0.28 * jitter(), 0.16, 0.02),
        regular(int(recipe.integers(3, 6)), 0.3 * jitter()),
        union(*(move(disc(0.09 * jitter()), x) for x in (-0.35, 0.0, 0.35))),
        stroke(-0.3 + 0j, 0.3 + 0j, 0.1 * jitter()),
    ]
    return cut(solids[int(recipe.integers(3))], turn(holes[int(recipe.integers(4))], recipe.uniform(0, pi)))


def _clasp(recipe: Generator, jitter: Jitter) -> Shape:
    """Bows and discs: clips, eyes, spectacles, keyholes."""
    bow, open_angle = recipe.uniform(0.35, 0.65) * jitter(), recipe.uniform(0.35, 0.9) * pi
    clip = move(turn(arc(bow, open_angle, recipe.uniform(0.07, 0.13)), recipe.uniform(-pi, pi)), -0.1)
    extra = [
        move(disc(recipe.uniform(0.14, 0.25) * jitter()), complex(*recipe.uniform(-0.5, 0.5, 2))),
        stroke(complex(*recipe.uniform(-0.7, 0.0, 2)), complex(*recipe.uniform(0.0, 0.7, 2)), 0.09 * jitter()),
        move(ring(0.25 * jitter(), 0.12), complex(*recipe.uniform(-0.5, 0.5, 2))),
    ]
    return union(clip, *extra[: int(recipe.integers(1, 4))])


_FAMILIES = (_wheel, _blob, _wire, _frame, _rosette, _slab, _clasp)
