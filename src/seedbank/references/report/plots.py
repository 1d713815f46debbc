"""Plots of photos as coordinates: a map of them and the distribution of each measure. The template draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedbank.references.judging.suites import Rule

Floats = npt.NDArray[np.float64]

MAP_WIDTH, MAP_HEIGHT, MARGIN = 620, 440, 34
"""Size of the map, and how far from its border the centre of a photo stays, in pixels."""
PUSHES = 200
"""Rounds of pushing photos of the map apart; far more than a few dozen photos need."""
PLOT_WIDTH, PLOT_HEIGHT = 300, 54
"""Size of one distribution in pixels."""
BINS = 40
SPAN = 50.0
"""Largest over smallest value from which an axis is logarithmic."""
LEAST = 1e-6
"""Smallest value that a logarithmic axis shows."""


@dataclass(frozen=True)
class MapPoint:
    """A place on the map: where the photo lies, and where it is drawn so that it hides no other."""

    x: float
    y: float
    drawn_x: float
    drawn_y: float


@dataclass(frozen=True)
class Bar:
    """A part of a distribution's column: photos of one ``status``, from ``bottom`` up, in pixels."""

    x: float
    bottom: float
    height: float
    status: str


@dataclass(frozen=True)
class Line:
    """A threshold in a distribution, in pixels, and its value."""

    x: float
    value: float
    severity: str


@dataclass(frozen=True)
class Distribution:
    """The values of one measure over all photos, as bars from ``low`` to ``high``."""

    low: float
    high: float
    bars: Sequence[Bar]
    lines: Sequence[Line]
    logarithmic: bool


def principal_plane(vectors: Floats, also: Floats) -> tuple[Floats, Floats]:
    """Places of ``vectors`` (n, d) in the plane of their two principal components, and of ``also`` in the same plane.

    The sign of each component is fixed by its largest entry, so the same photos always give the same map.
    """
    if not len(vectors):
        return np.zeros((0, 2)), np.zeros((len(also), 2))
    middle = vectors.mean(axis=0)
    # Principal components: right singular vectors of the centred rows; zeros where there are fewer than two.
    _, _, axes = np.linalg.svd(vectors - middle, full_matrices=False)
    axes = np.vstack([axes[:2], np.zeros((2, vectors.shape[1]))])[:2]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.where(axes[[0, 1], largest] < 0, -1.0, 1.0)[:, None]
    return (vectors - middle) @ axes.T, (also.reshape(-1, vectors.shape[1]) - middle) @ axes.T


def lay_out(places: Floats, size: float) -> list[MapPoint]:
    """Points on the map for places in a plane, drawn at least ``size`` pixels apart where there is room."""
    if not len(places):
        return []
    low, high = places.min(axis=0), places.max(axis=0)
    free = np.array([MAP_WIDTH - 2 * MARGIN, MAP_HEIGHT - 2 * MARGIN])
    exact = (
        (places - (low + high) / 2) * np.min(free / np.maximum(high - low, 1e-9)) if (high > low).any() else places * 0
    )
    # SVG's y axis points down.
    exact = exact * [1, -1] + np.array([MAP_WIDTH, MAP_HEIGHT]) / 2
    drawn = _push_apart(exact, size)
    return [
        MapPoint(x=x, y=y, drawn_x=drawn_x, drawn_y=drawn_y)
        for (x, y), (drawn_x, drawn_y) in zip(exact.round(1).tolist(), drawn.round(1).tolist(), strict=True)
    ]


def distribute(values: Sequence[float], statuses: Sequence[str], rules: Sequence[Rule]) -> Distribution | None:
    """The distribution of the finite ``values``, in columns by ``statuses``, with the bounds of ``rules``; None without values."""
    known = [(value, status) for value, status in zip(values, statuses, strict=True) if math.isfinite(value)]
    if not known:
        return None
    bounds = [(bound, rule.severity) for rule in rules for bound in (rule.minimum, rule.maximum) if bound is not None]
    every = [value for value, _ in known] + [bound for bound, _ in bounds]
    low, high = min(every), max(every)
    logarithmic = low > LEAST and high / low > SPAN
    pad = 0.0 if logarithmic else 0.03 * (high - low) or 0.5
    low, high = low - pad, high + pad

    def x_of(value: float) -> float:
        if logarithmic:
            return PLOT_WIDTH * math.log(value / low) / math.log(high / low)
        return PLOT_WIDTH * (value - low) / (high - low)

    bars = _bars([(x_of(value), status) for value, status in known])
    lines = [Line(round(x_of(bound), 1), bound, severity) for bound, severity in bounds]
    return Distribution(low + pad, high - pad, bars, lines, logarithmic)


def _bars(points: Sequence[tuple[float, str]]) -> list[Bar]:
    width = PLOT_WIDTH / BINS
    columns: dict[int, list[str]] = {}
    for x, status in points:
        columns.setdefault(min(BINS - 1, int(x / width)), []).append(status)
    unit = PLOT_HEIGHT / max(6, *map(len, columns.values()))
    bars = []
    for column, statuses in sorted(columns.items()):
        bottom = 0.0
        for status in sorted(set(statuses)):
            height = statuses.count(status) * unit
            bars.append(Bar(round(column * width, 1), round(bottom, 2), round(height, 2), status))
            bottom += height
    return bars


def _push_apart(exact: Floats, size: float) -> Floats:
    """Move points away from those that are nearer than ``size`` until none is, or the rounds are spent; they stay on the map."""
    # Photos in one place need a direction to part in: a spiral by the golden angle (radians) has another one for each.
    turns = np.arange(len(exact)) * 2.399963
    drawn = exact + 0.01 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    border = np.array([MAP_WIDTH, MAP_HEIGHT]) - MARGIN
    for _ in range(PUSHES):
        apart = drawn[:, None] - drawn[None]
        distance = np.linalg.norm(apart, axis=-1) + np.eye(len(drawn)) * 1e9
        if distance.min() >= size:
            break
        shove = np.clip(size + 0.5 - distance, 0, None) / 2
        drawn = np.clip(drawn + (apart / distance[..., None] * shove[..., None]).sum(axis=1) * 0.7, MARGIN, border)
    return drawn
