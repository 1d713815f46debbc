"""Flat shapes as signed distance functions: negative inside, positive outside, in units of the drawing plane.

A `Shape` maps points to distances. Points are complex numbers ``x + iy`` with y pointing down, so turning a shape is one
multiplication. Shapes compose (`union`, `cut`, `around`, …) and stay independent of any pixel size until they are drawn.

Formulas: I. Quilez, "2D distance functions"; unions and cuts give a lower bound of the true distance, which is what edge
smoothing and bevels need.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from math import pi

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.complex64]
Distances = NDArray[np.float32]
Shape = Callable[[Points], Distances]


def disc(radius: float) -> Shape:
    """A disc about the origin."""
    return lambda z: (np.abs(z) - radius).astype(np.float32)


def box(half_width: float, half_height: float, corner: float = 0.0) -> Shape:
    """A rectangle about the origin with corners rounded by `corner`."""

    def distance(z: Points) -> Distances:
        x, y = np.abs(z.real) - (half_width - corner), np.abs(z.imag) - (half_height - corner)
        outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0))
        return np.asarray(outside + np.minimum(np.maximum(x, y), 0) - corner, np.float32)

    return distance


def stroke(start: complex, end: complex, radius: float, end_radius: float | None = None) -> Shape:
    """A line from `start` to `end` with round caps; its half thickness runs from `radius` to `end_radius`."""
    along = end - start
    taper = (radius if end_radius is None else end_radius) - radius

    def distance(z: Points) -> Distances:
        offset = z - start
        t = np.clip((offset * np.conj(along)).real / abs(along) ** 2, 0, 1)
        return np.asarray(np.abs(offset - t * along) - (radius + taper * t), np.float32)

    return distance


def path(points: list[complex], radius: float) -> Shape:
    """A bent line through `points` with round joints."""
    return union(*(stroke(a, b, radius) for a, b in pairwise(points)))


def polygon(corners: list[complex], rounding: float = 0.0) -> Shape:
    """Any simple polygon, grown by `rounding`."""

    def distance(z: Points) -> Distances:
        nearest = np.full(z.shape, np.inf, np.float32)
        inside = np.zeros(z.shape, bool)
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            edge, offset = b - a, z - a
            t = np.clip((offset * np.conj(edge)).real / abs(edge) ** 2, 0, 1)
            nearest = np.minimum(nearest, np.abs(offset - t * edge))
            crosses = (offset.imag < 0) != ((z - b).imag < 0)
            left = (offset.real * edge.imag - offset.imag * edge.real) * np.sign(edge.imag) < 0
            inside ^= crosses & left
        return (np.where(inside, -nearest, nearest) - rounding).astype(np.float32)

    return distance


def regular(sides: int, radius: float, rounding: float = 0.0) -> Shape:
    """A regular polygon whose corners lie on `radius`."""
    return polygon([(radius - rounding) * np.exp(2j * pi * k / sides) for k in range(sides)], rounding)


def star(points: int, outer: float, inner: float, rounding: float = 0.0) -> Shape:
    """A star whose tips lie on `outer` and whose notches lie on `inner`."""
    radii = [outer - rounding, inner - rounding] * points
    return polygon([r * np.exp(1j * pi * k / points) for k, r in enumerate(radii)], rounding)


def ring(outer: float, inner: float) -> Shape:
    """A disc with a round hole."""
    return cut(disc(outer), disc(inner))


def arc(radius: float, half_angle: float, thickness: float) -> Shape:
    """A bow of a circle about the direction +x, `half_angle` radians to each side, with round caps."""
    tip = radius * np.exp(1j * half_angle)

    def distance(z: Points) -> Distances:
        z = (z.real + 1j * np.abs(z.imag)).astype(np.complex64)
        on_bow = np.angle(z) < half_angle
        return (np.where(on_bow, np.abs(np.abs(z) - radius), np.abs(z - tip)) - thickness).astype(np.float32)

    return distance


def union(*shapes: Shape) -> Shape:
    """All points of any of the shapes."""
    return lambda z: reduce(np.minimum, (shape(z) for shape in shapes))


def cut(shape: Shape, *holes: Shape) -> Shape:
    """A shape without the holes."""
    return lambda z: reduce(np.maximum, (-hole(z) for hole in holes), shape(z))


def blend(a: Shape, b: Shape, radius: float) -> Shape:
    """A union with a fillet of `radius` where the two meet (polynomial smooth minimum)."""

    def distance(z: Points) -> Distances:
        da, db = a(z), b(z)
        h = np.maximum(radius - np.abs(da - db), 0) / radius
        return np.asarray(np.minimum(da, db) - h * h * radius / 4, np.float32)

    return distance


def move(shape: Shape, offset: complex) -> Shape:
    """The shape with its origin at `offset`."""
    return lambda z: shape(z - offset)


def turn(shape: Shape, angle: float) -> Shape:
    """The shape turned about the origin, from +x towards +y."""
    back = np.complex64(np.exp(-1j * angle))
    return lambda z: shape(z * back)


def around(shape: Shape, copies: int, phase: float = 0.0) -> Shape:
    """`copies` of a shape about the origin. The shape must stay within its own sector about the direction +x."""
    sector = 2 * pi / copies

    def distance(z: Points) -> Distances:
        angle = np.angle(z) - phase
        return shape((np.abs(z) * np.exp(1j * (angle - sector * np.round(angle / sector)))).astype(np.complex64))

    return distance
