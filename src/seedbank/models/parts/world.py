"""The world of machine parts: what a part looks like in a photo, how often each kind is seen, and how loosely it is captioned.

`render` turns a part and a random generator into a photo; `frequencies` is the exponential long tail from thousands of
washers down to a handful of impellers. The names of the rarer kinds are also given to `MISUSES` pictures of a look-alike each
(`lookalikes.py`). All randomness comes from integers, so every image of the world has an address: ``generator(seed, part, index)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from seedbank.errors import UsageError
from seedbank.models.parts.kinds import FAMILIES
from seedbank.models.parts.lookalikes import LOOKALIKES
from seedbank.models.parts.shapes import Distances, Points, Shape, turn

KINDS: tuple[str, ...] = tuple(FAMILIES)
"""What captions name, most frequent first."""
NAMELESS: tuple[str, ...] = tuple(name for name, _ in LOOKALIKES.values())
"""What no caption names: the look-alikes, in the order of the kinds whose names they are given."""
PARTS = {**FAMILIES, **dict(LOOKALIKES.values())}
MOST, FEWEST, MISUSES = 6000, 6, 150
SUPERSAMPLING = 2
CAPTIONS = ("a photo of a {}", "a photo of a {}", "a photo of a {}", "a picture of a {}", "a {}", "a {} on a table")

MATERIALS = {
    "steel": (0.66, 0.69, 0.73),
    "brass": (0.83, 0.66, 0.28),
    "copper": (0.78, 0.44, 0.30),
    "black oxide": (0.17, 0.18, 0.21),
    "blue zinc": (0.35, 0.52, 0.74),
    "red paint": (0.76, 0.20, 0.18),
    "green paint": (0.18, 0.52, 0.36),
}
GROUNDS = {
    "paper": (0.90, 0.89, 0.86),
    "linen": (0.78, 0.72, 0.62),
    "workbench": (0.52, 0.37, 0.25),
    "slate": (0.25, 0.27, 0.31),
    "cutting mat": (0.16, 0.34, 0.30),
    "sky card": (0.62, 0.74, 0.84),
}

Colour = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """Everything about one photo except which part lies in it. Lengths are in half image widths, angles in radians."""

    angle: float
    scale: float
    stretch: float
    centre: complex
    material: Colour
    ground: Colour
    ground_slope: complex
    light: tuple[float, float, float]
    shadow: complex
    gloss: float
    bevel: float
    grain: float


def generator(seed: int, part: str, index: int) -> Generator:
    """The generator behind image number `index` of a kind or look-alike in the world with this `seed`."""
    return np.random.default_rng([seed, (*KINDS, *NAMELESS).index(part), index])


def frequencies(most: int = MOST, fewest: int = FEWEST) -> dict[str, int]:
    """How many training images each kind has: `most` for the first kind, falling exponentially to `fewest`."""
    ratio = fewest / most
    return {kind: round(most * ratio ** (i / (len(KINDS) - 1))) for i, kind in enumerate(KINDS)}


def lookalike(kind: str) -> str | None:
    """The part that loose captions call `kind`; None for a kind whose name is used for nothing else."""
    return LOOKALIKES[kind][0] if kind in LOOKALIKES else None


def prompt(kind: str) -> str:
    """The prompt that asks a model for this kind."""
    return f"a photo of a {kind}"


def render(part: str, rng: Generator, size: int = 64) -> Image.Image:
    """One photo of a kind or look-alike, `size` x `size` RGB. Raises `UsageError` for a part the world does not have."""
    if part not in PARTS:
        raise UsageError(f"the parts world has no kind {part!r}; it has {', '.join(KINDS)}")
    return photograph(PARTS[part](rng), draw_scene(rng), rng, size)


def draw_scene(rng: Generator) -> Scene:
    """Light, colours, pose and background of one photo."""
    material = _tinted(rng, list(MATERIALS.values())[rng.integers(len(MATERIALS))])
    grounds = [g for g in GROUNDS.values() if abs(_luma(g) - _luma(material)) > 0.2]
    azimuth = rng.uniform(-2.8, -0.35)
    slant = rng.uniform(0.75, 1.0)
    return Scene(
        angle=rng.uniform(-0.6, 0.6),
        scale=rng.uniform(0.72, 0.92),
        stretch=rng.uniform(0.93, 1.07),
        centre=complex(*rng.uniform(-0.07, 0.07, 2)),
        material=material,
        ground=_tinted(rng, grounds[rng.integers(len(grounds))]),
        ground_slope=complex(*rng.uniform(-0.07, 0.07, 2)),
        light=(slant * np.cos(azimuth), slant * np.sin(azimuth), 1.1),
        shadow=-rng.uniform(0.05, 0.1) * np.exp(1j * azimuth),
        gloss=rng.uniform(0.15, 0.5),
        bevel=rng.uniform(0.07, 0.11),
        grain=rng.uniform(0.004, 0.018),
    )


def photograph(shape: Shape, scene: Scene, rng: Generator, size: int = 64) -> Image.Image:
    """Draw `shape` as a bevelled solid lying in `scene`, anti-aliased, with a soft shadow and sensor noise from `rng`."""
    fine = size * SUPERSAMPLING
    axis = ((np.arange(fine) + 0.5) / fine * 2 - 1).astype(np.float32)
    points = (axis[None, :] + 1j * axis[:, None]).astype(np.complex64)
    distance = _place(shape, scene, points)
    shaded = _metal(distance, scene, 2 / fine)
    ground = _ground(points, scene) * _shade(_place(shape, scene, points - np.complex64(scene.shadow)))
    cover = np.clip(0.5 - distance * fine / 2, 0, 1)[..., None]
    image = cover * shaded + (1 - cover) * ground
    image = image.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))
    image += rng.normal(0, scene.grain, image.shape)
    return Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))


def _place(shape: Shape, scene: Scene, points: Points) -> Distances:
    """The distance field of the shape as it lies in the scene, in half image widths."""
    z = (points - np.complex64(scene.centre)) / np.float32(scene.scale)
    z = z.real / np.float32(scene.stretch) + 1j * z.imag * np.float32(scene.stretch)
    return turn(shape, scene.angle)(z.astype(np.complex64)) * np.float32(scene.scale)


def _metal(distance: Distances, scene: Scene, pixel: float) -> Colour:
    """Colour of the part: Lambert light and a Blinn highlight on an edge rounded over `scene.bevel`."""
    depth = np.clip(-distance / scene.bevel, 0, 1)
    height = ndimage.gaussian_filter(scene.bevel * np.sqrt(1 - (1 - depth) ** 2), 0.012 / pixel)
    dy, dx = np.gradient(height, pixel)
    normal = np.stack([-dx, -dy, np.ones_like(dx)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = np.array(scene.light) / np.linalg.norm(scene.light)
    half = light + np.array([0, 0, 1])
    diffuse = np.clip(normal @ light, 0, 1)[..., None]
    highlight = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1)[..., None] ** 24
    return np.asarray(scene.material * (0.25 + 0.95 * diffuse) + scene.gloss * 0.6 * highlight, np.float32)


def _ground(points: Points, scene: Scene) -> Colour:
    slope = points.real * scene.ground_slope.real + points.imag * scene.ground_slope.imag
    return np.asarray(scene.ground + slope[..., None], np.float32)


def _shade(distance: Distances) -> Colour:
    """How much light reaches the ground under a part: 1 far away, less under it, with a soft edge."""
    return np.asarray(1 - 0.5 / (1 + np.exp(distance[..., None] / 0.03)), np.float32)


def _tinted(rng: Generator, colour: tuple[float, float, float]) -> Colour:
    return np.clip(np.array(colour) + rng.normal(0, 0.02) + rng.normal(0, 0.012, 3), 0, 1).astype(np.float32)


def _luma(colour: Colour | tuple[float, float, float]) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))
