import numpy as np
import pytest
from PIL import Image

from seedbank.references.judging.subject import Subject, colour_name, colour_spread, find_subject, pose_spread
from support.photos import photo


def scene(
    ground: str = "white", subject: str = "red", box: tuple[int, int, int, int] = (40, 60, 120, 100)
) -> Image.Image:
    made = Image.new("RGB", (160, 160), ground)
    made.paste(subject, box)
    return made


def found(image: Image.Image) -> Subject:
    subject = find_subject(image)
    assert subject is not None
    return subject


def test_subject_and_background_are_told_apart() -> None:
    subject = found(scene())
    assert colour_name(subject.ground) == "bright"
    assert colour_name(subject.colour) == "red"
    assert subject.share == pytest.approx(80 * 40 / 160**2, rel=0.15)


@pytest.mark.parametrize("index", range(6))
def test_every_render_of_a_part_has_a_subject(index: int) -> None:
    assert 0.05 < found(photo("hook", index)).share < 0.3


@pytest.mark.parametrize("image", [Image.new("RGB", (90, 60), "grey"), Image.effect_noise((90, 90), 90).convert("RGB")])
def test_where_nothing_stands_out_there_is_no_subject(image: Image.Image) -> None:
    assert find_subject(image) is None


@pytest.mark.parametrize(
    ("colour", "name"),
    [("black", "dark"), ("#808080", "grey"), ("white", "bright"), ("red", "red"), ("green", "green"), ("blue", "blue")],
)
def test_colours_have_the_names_that_people_give_them(colour: str, name: str) -> None:
    ground = "white" if name != "bright" else "black"
    assert colour_name(found(scene(ground, colour)).colour) == name


def test_an_outline_does_not_depend_on_place_and_size_but_on_pose() -> None:
    lying, moved = found(scene()).outline, found(scene(box=(70, 90, 130, 120))).outline
    standing = found(scene(box=(60, 40, 100, 120))).outline
    assert pose_spread([lying, moved]) < 0.15
    assert pose_spread([lying, standing]) > 0.4


def test_spreads_are_means_over_pairs_and_need_two() -> None:
    black, white = np.array([0.0, 0, 0]), np.array([100.0, 0, 0])
    assert colour_spread([black, white, white]) == pytest.approx(200 / 3)
    assert np.isnan(colour_spread([black]))
    assert np.isnan(pose_spread([]))
