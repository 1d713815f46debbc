import numpy as np
import pytest

from seedbank.references.judging.likeness import likeness
from seedbank.references.judging.strangers import OTHER_THINGS, Scale, learn_scale, other_things


def unit(*angles: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)] for angle in angles])


OTHERS = unit(-np.pi / 2, -1.7, -1.6, np.pi)


def belonging(*angles: float, others: np.ndarray = OTHERS, fewest: int = 4) -> tuple[np.ndarray, Scale]:
    vectors, everyone = unit(*angles), np.ones(len(angles), dtype=bool)
    alike = likeness(vectors @ vectors.T, everyone)
    scale = learn_scale(alike, vectors, everyone, others, limit=0.5, fewest=fewest)
    return scale.belonging(alike), scale


def test_one_stranger_stands_out_and_does_not_make_the_others_strange() -> None:
    found, _ = belonging(0.0, 0.05, 0.1, 0.12, 0.2, 1.5)
    assert found[5] < 0.5
    assert (found[:5] > 0.9).all()


def test_three_strangers_among_eight_vouch_for_nobody() -> None:
    found, _ = belonging(0.0, 0.05, 0.1, 0.12, 0.2, 1.5, -1.5, 3.0)
    assert (found[5:] < 0.5).all()
    assert (found[:5] > 0.9).all()


def test_a_rare_view_of_very_uniform_photos_is_no_stranger() -> None:
    found, _ = belonging(*np.linspace(0, 0.05, 9), 0.9)
    assert 0.5 < found[9] < 0.7


def test_two_views_of_one_part_are_no_strangers_to_each_other() -> None:
    found, _ = belonging(0.0, 0.05, 0.1, 0.15, 1.0, 1.05, 1.1, 1.15)
    assert (found > 0.9).all()


def test_photos_no_more_like_each_other_than_like_others_are_not_judged() -> None:
    found, scale = belonging(0.0, 1.5, 2.8, 4.3, 5.5, others=unit(*np.linspace(0, 6, 20)))
    assert np.isnan(found).all()
    assert scale.not_measured.startswith("these photos are hardly more like each other (")
    assert scale.explain(0.5).startswith("Strangers were not measured: these photos are hardly more like each other")


@pytest.mark.parametrize(
    ("angles", "others", "why"),
    [
        ((0.0, 0.1, 0.2), OTHERS, "3 photos can be compared with each other, at least 4 are needed"),
        ((0.0, 0.1, 0.2, 0.3), np.zeros((0, 2)), "there are no pictures of other things to compare with"),
    ],
)
def test_what_cannot_be_told_is_said(angles: tuple[float, ...], others: np.ndarray, why: str) -> None:
    found, scale = belonging(*angles, others=others)
    assert np.isnan(found).all()
    assert scale.not_measured == why


def test_people_read_where_the_limit_lies() -> None:
    assert Scale(usual=0.8, unlike=0.2).explain(0.5) == (
        "How a stranger is told: the photos' usual likeness to each other is 0.80, that of pictures of other things to them 0.20. "
        "A photo whose likeness to the others is 0.50 or more belongs."
    )


def test_the_pictures_of_other_things_are_there() -> None:
    pictures = other_things()
    assert len(pictures) == len(OTHER_THINGS) == 20
    assert {picture.mode for picture in pictures} == {"RGB"}
    assert max(max(picture.size) for picture in pictures) == 384
