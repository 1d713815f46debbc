"""Subject and background of a photo, by colour: what a set shows against what, in which colours and poses.

The sides of a photo are taken for background. That holds for parts photographed by themselves and fails for a crowded scene, where no
subject is found; so these numbers advise and warn, and put no photo out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

SIDE = 64
"""Longer side in pixels at which subject and background are told apart."""
RIM = 0.06
"""Share of a side, from the border inwards, that is taken for background."""
LEAST_DIFFERENCE = 12.0
"""Colour difference from the background, in ΔE, below which nothing counts as subject: shadows and slopes of light stay below it."""
FEWEST, MOST = 0.01, 0.85
"""Shares of the photo between which a subject is believed."""
OUTLINE = 24
"""Side in pixels of an outline."""
REACH = 1.8
"""How far an outline reaches, in root-mean-square radii of the subject: all of it, for any part that is not a needle."""
DARK, BRIGHT = 38.0, 70.0
"""CIE lightness below which a surface looks dark and above which it looks bright; a grey card has 50."""
GREY = 12.0
"""CIE chroma below which a surface looks grey."""
HUES = (
    ("red", 20.0),
    ("orange", 65.0),
    ("yellow", 95.0),
    ("green", 150.0),
    ("blue", 250.0),
    ("blue", 300.0),
    ("purple", 330.0),
    ("red", 380.0),
)
"""Names of hues, by the middle of each on the CIE Lab colour circle, in degrees."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """What a photo shows.

    Attributes:
        ground: colour of the background, CIE Lab.
        colour: colour of the subject, CIE Lab.
        share: part of the photo that it fills, 0..1.
        outline: where it is, shape (OUTLINE, OUTLINE), moved to the middle and scaled to one size, not turned.
    """

    ground: Floats
    colour: Floats
    share: float
    outline: npt.NDArray[np.bool_]


def find_subject(image: Image.Image) -> Subject | None:
    """The subject of an RGB picture; None where it cannot be told from its background."""
    from skimage.color import rgb2lab
    from skimage.filters import threshold_otsu

    scale = SIDE / max(image.size)
    small = image.resize(
        (max(8, round(image.width * scale)), max(8, round(image.height * scale))), Image.Resampling.BOX
    )
    lab = rgb2lab(np.asarray(small))
    ground = np.median(lab[_rim(lab.shape[0], lab.shape[1])], axis=0)
    # CIE76: the colour difference is the distance in Lab. Otsu's threshold (1979) parts two classes of it; taken low, so that
    # a subject's paler parts stay in.
    difference = np.linalg.norm(lab - ground, axis=-1)
    mask = difference > max(LEAST_DIFFERENCE, 0.6 * float(threshold_otsu(difference)))
    mask = ndimage.binary_opening(mask)
    share = float(mask.mean())
    if not FEWEST <= share <= MOST or not _is_one_thing(mask):
        return None
    return Subject(ground, np.median(lab[mask], axis=0), share, _outline(mask))


def colour_name(lab: Floats) -> str:
    """What people call a colour: ``dark``, ``grey`` or ``bright`` where it has no hue, else the hue's name."""
    # CIE chroma C*ab; below it the hue angle h_ab.
    if np.hypot(lab[1], lab[2]) < GREY:
        return "dark" if lab[0] < DARK else "bright" if lab[0] > BRIGHT else "grey"
    hue = np.degrees(np.arctan2(lab[2], lab[1])) % 360
    return min(HUES, key=lambda named: abs(named[1] - hue))[0]


def colour_spread(colours: Sequence[Floats]) -> float:
    """Mean CIE76 colour difference over pairs, in ΔE; NaN for fewer than two colours."""
    distances = [float(np.linalg.norm(one - other)) for one, other in combinations(colours, 2)]
    return float(np.mean(distances)) if distances else float("nan")


def pose_spread(outlines: Sequence[npt.NDArray[np.bool_]]) -> float:
    """1 less the mean overlap (Jaccard index) of outlines over pairs, 0..1; NaN for fewer than two outlines."""
    overlaps = [float((one & other).sum() / max((one | other).sum(), 1)) for one, other in combinations(outlines, 2)]
    return 1 - float(np.mean(overlaps)) if overlaps else float("nan")


def _rim(height: int, width: int) -> npt.NDArray[np.bool_]:
    rim = np.ones((height, width), dtype=bool)
    down, across = max(1, round(RIM * height)), max(1, round(RIM * width))
    rim[down:-down, across:-across] = False
    return rim


def _is_one_thing(mask: npt.NDArray[np.bool_]) -> bool:
    """Whether most of the mask hangs together: a crowded scene or noise has no subject."""
    parts, _ = ndimage.label(mask)
    return bool(np.bincount(parts[mask]).max() > mask.sum() / 2)


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask about its centre, scaled by its root-mean-square radius."""
    rows, columns = np.nonzero(mask)
    centre = np.array([rows.mean(), columns.mean()])
    radius = np.sqrt(np.mean((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2)) + 1e-9
    axis = (np.arange(OUTLINE) + 0.5) / OUTLINE * 2 - 1
    points = np.stack(np.meshgrid(axis, axis, indexing="ij")) * REACH * radius + centre[:, None, None]
    return np.asarray(ndimage.map_coordinates(mask.astype(np.float32), points, order=1) > 0.5)
