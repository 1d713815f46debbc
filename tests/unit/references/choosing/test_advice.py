from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw

from seedbank.concepts import SetPolicy
from seedbank.references.choosing.advice import advise
from seedbank.references.choosing.choice import choose_photos
from support.measured_photos import measured_photos
from support.photos import photo

SHAPES = ("wide", "tall", "round", "wide", "tall", "round", "wide", "tall")


def scene(ground: str, subject: str = "red", shape: str = "wide", scale: float = 1.0) -> Image.Image:
    made = Image.new("RGB", (160, 160), ground)
    half = {"wide": (60, 15), "tall": (15, 60), "round": (40, 40)}[shape]
    across, down = (round(side * scale) for side in half)
    box = (80 - across, 80 - down, 80 + across, 80 + down)
    draw = ImageDraw.Draw(made)
    (draw.ellipse if shape == "round" else draw.rectangle)(box, fill=subject)
    return made


def advice(images: Sequence[Image.Image], angles: Sequence[float] | None = None, **policy: object) -> str:
    photos = measured_photos(images, angles or np.linspace(0, 0.3, len(images)).tolist())
    return "; ".join(advise(photos, choose_photos(photos, set(), 8), set(), SetPolicy.model_validate(policy)))


def test_a_varied_set_needs_nothing() -> None:
    grounds = ("black", "white", "blue", "grey", "white", "black", "green", "grey")
    colours = ("red", "yellow", "red", "red", "blue", "yellow", "red", "blue")
    scales = (1.0, 0.6, 0.8, 1.0, 0.6, 0.9, 0.5, 1.0)
    assert advice([scene(*each) for each in zip(grounds, colours, SHAPES, scales, strict=True)]) == ""


@pytest.mark.parametrize(("colour", "name"), [("#808080", "grey"), ("#202020", "dark"), ("#1a7a3a", "green")])
def test_all_on_one_background(colour: str, name: str) -> None:
    assert f"all on a {name} background" in advice([scene(colour, shape=shape) for shape in SHAPES])


def test_what_kind_of_background_is_missing() -> None:
    bright = advice([scene(ground) for ground in ("white", "#ffd0d0", "white", "#d0d0ff")])
    assert "no photo on a dark background" in bright
    assert "bright background" not in bright
    dark = advice([scene(ground, "yellow") for ground in ("black", "#400000", "black", "#000040")])
    assert "no photo on a bright background" in dark
    assert "no photo on a dark background" not in dark
    assert "no photo on a coloured background" in advice(
        [scene(ground) for ground in ("black", "white", "grey", "white")]
    )


def test_all_from_the_same_side_and_the_same_distance() -> None:
    same = advice([scene(ground) for ground in ("black", "white", "blue", "grey")])
    assert "all from the same side: outlines overlap by" in same
    assert "all from the same distance" in same
    varied = advice([scene("white", shape=shape, scale=0.4 + 0.2 * n) for n, shape in enumerate(SHAPES[:4])])
    assert "same side" not in varied
    assert "same distance" not in varied


def test_all_of_one_colour() -> None:
    assert "all subjects are red" in advice([scene("white")] * 4)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (2, "3 more usable photos are needed: 2 of at least 5"),
        (6, "2 more usable photos would fill the set of 8"),
        (8, ""),
    ],
)
def test_how_many_are_missing(count: int, words: str) -> None:
    found = advice([scene("white")] * count)
    assert words in found
    assert ("more usable photos" in found) == bool(words)


def test_outliers_are_to_be_looked_at() -> None:
    found = advice([photo(index=index) for index in range(8)], [0.0] * 7 + [1.5])
    assert "look at 7.jpg: if it shows the concept, take two more like it, or pin it" in found


def test_a_lonely_chosen_photo_wants_company() -> None:
    angles = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.4]
    found = advice([photo(index=index) for index in range(8)], angles, min_belonging=0)
    assert "7.jpg is the only one of its kind (likeness 0.70 to its nearest)" in found


def test_without_subjects_nothing_is_said_about_backgrounds() -> None:
    plain = [Image.new("RGB", (160, 160), colour) for colour in ("red", "green", "blue", "grey")]
    assert "background" not in advice(plain)
