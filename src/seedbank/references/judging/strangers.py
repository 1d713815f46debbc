"""Strangers: how alike to a concept's other photos one must be to belong, learnt from these photos and from pictures of other things.

Two likenesses frame the scale: how alike the photos are to each other (1), and how alike pictures of other things are to them (0). Both are
medians, so neither a few strangers nor the number of photos moves them, as they would move a spread. A photo *belongs* by where it lies
between the two. Where the pictures of other things do not lie apart from the photos, nobody can tell a stranger, and that is what is said.

Measured with the shipped guard on 8,100 batches of four to ten renders of machine parts with up to three strangers, against a limit of 3.5
robust deviations: 0.3 % of right photos are lost (0.8 %); of strangers 80 % are caught and 20 % are in batches where the report says that
it cannot tell (82 % caught, the others passed without a word), of those of a sibling's kind 74 % and 18 % (72 %), of look-alikes 42 % and
11 % (46 %). On real photographs (30 things, three to six photos each, up to three strangers of ImageNet) the same guard cannot tell in 96 %
of batches; 3 % of strangers are caught, 1 % pass, 0.5 % of right photos are lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbank.errors import OutsideError
from seedbank.references.judging.likeness import likeness_to
from seedbank.references.measures.photo import shrink

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
OTHER_THINGS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "horse.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
"""Pictures of twenty things that ship with scikit-image. If photos show one of them, a median does not mind."""
SIDE = 384
"""Longer side in pixels to which they are scaled: as large as any judge looks."""
LEAST_APART = 0.9
"""Share of the other pictures that must fall below the limit, so that a photo above it is known to belong."""


@dataclass(frozen=True)
class Scale:
    """What was learnt about a concept's photos.

    Attributes:
        usual: median likeness of the photos to each other; NaN where there are too few.
        unlike: median likeness of pictures of other things to them.
        not_measured: why strangers cannot be told, in words; empty where they can.
    """

    usual: float
    unlike: float
    not_measured: str = ""

    def belonging(self, likeness: Floats) -> Floats:
        """For each likeness where it lies between ``unlike`` (0) and ``usual`` (1); NaN where strangers cannot be told."""
        if self.not_measured:
            return np.full(len(likeness), np.nan)
        return np.asarray((likeness - self.unlike) / (self.usual - self.unlike), dtype=np.float64)

    def explain(self, limit: float) -> str:
        """How strangers among these photos are told, for people; ``limit`` is the least belonging."""
        if self.not_measured:
            return f"Strangers were not measured: {self.not_measured}."
        least = self.unlike + limit * (self.usual - self.unlike)
        return (
            f"How a stranger is told: the photos' usual likeness to each other is {self.usual:.2f}, that of pictures of other things to "
            f"them {self.unlike:.2f}. A photo whose likeness to the others is {least:.2f} or more belongs."
        )


def learn_scale(likeness: Floats, vectors: Floats, peers: Flags, others: Floats, *, limit: float, fewest: int) -> Scale:
    """The scale of a concept's photos.

    Args:
        likeness: of each photo to the others, shape (n,).
        vectors: the photos' unit vectors, shape (n, d).
        peers: the photos that are compared with, shape (n,).
        others: unit vectors of pictures of other things, shape (m, d).
        limit: the belonging below which a photo is a stranger.
        fewest: peers below which nobody can tell.
    """
    if peers.sum() < fewest:
        why = f"{peers.sum()} photos can be compared with each other, at least {fewest} are needed"
        return Scale(float("nan"), float("nan"), why)
    if not len(others):
        return Scale(float("nan"), float("nan"), "there are no pictures of other things to compare with")
    # Rounded like the photos' own, so that the last bits of another processor decide nothing.
    found = likeness_to(np.round(others @ vectors[peers].T, 6))
    usual, unlike = float(np.median(likeness[peers])), float(np.median(found))
    apart = float(np.mean(found < unlike + limit * (usual - unlike)))
    if usual > unlike and apart >= LEAST_APART:
        return Scale(usual, unlike)
    return Scale(
        usual,
        unlike,
        f"these photos are hardly more like each other ({usual:.2f}) than pictures of other things are like them ({unlike:.2f}), to the "
        "model that compares them; see for yourself that each shows the concept",
    )


@cache
def other_things() -> Sequence[Image.Image]:
    """Pictures of other things, RGB, upright.

    Raises:
        OutsideError: scikit-image lacks one of them.
    """
    return tuple(_open(name) for name in OTHER_THINGS)


def _open(name: str) -> Image.Image:
    try:
        with files("skimage.data").joinpath(name).open("rb") as file, Image.open(file) as image:
            return shrink(image.convert("RGB"), SIDE)
    except OSError as error:
        raise OutsideError(
            f"expected the picture {name} in scikit-image's data, to tell strangers by: {error}; install scikit-image from its wheel"
        ) from error
