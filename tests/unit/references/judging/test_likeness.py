import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from seedbank.references.judging.likeness import (
    coverage,
    effective_number,
    likeness,
    sameness,
    spread,
    to_own_mean,
)
from support.photos import jpeg, photo

LIMIT = 0.9


def gram(*angles: float) -> np.ndarray:
    vectors = np.array([[np.cos(angle), np.sin(angle)] for angle in angles])
    return vectors @ vectors.T


def recompressed(image: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(jpeg(image, 40))).convert("RGB")


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((6, 4, image.width - 2, image.height - 4))


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.15)


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((100, 100), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("change", [recompressed, cropped, brighter, smaller])
def test_a_changed_copy_is_the_same_picture(change: object) -> None:
    for index in range(4):
        original = photo(index=index)
        assert sameness([original, change(original)])[0, 1] > LIMIT  # type: ignore[operator]


def test_different_photos_of_one_part_are_not_the_same_picture() -> None:
    same = sameness([photo(kind, index) for kind in ("wingnut", "impeller") for index in range(6)])
    assert (same[~np.eye(12, dtype=bool)] < LIMIT).all()


def test_sameness_is_symmetric_and_full_with_oneself() -> None:
    same = sameness([photo(index=index, size=64) for index in range(3)])
    assert np.allclose(same, same.T)
    assert np.allclose(np.diag(same), 1)


def test_empty_pictures_are_like_nothing_and_no_pictures_give_no_table() -> None:
    assert sameness([Image.new("RGB", (64, 64), "grey")] * 2)[0, 1] == 0
    assert sameness([]).shape == (0, 0)


def test_the_same_part_in_other_colours_is_not_the_same_picture() -> None:
    original = photo(index=2)
    red, green, blue = original.split()
    assert sameness([original, Image.merge("RGB", (blue, Image.eval(green, lambda v: 255 - v), red))])[0, 1] < LIMIT


def test_photos_that_are_no_peers_are_compared_but_not_asked() -> None:
    similarity = gram(0.0, 0.1, 0.2, 1.5, 1.5, 1.5)
    peers = np.array([True, True, True, False, False, False])
    found = likeness(similarity, peers)
    assert found[0] == pytest.approx(similarity[0, 1])
    assert found[3] == pytest.approx((similarity[3, 1] + similarity[3, 2]) / 2)


def test_a_photo_without_peers_has_no_likeness() -> None:
    assert np.isnan(likeness(gram(0.0), np.array([True]))).all()


@pytest.mark.parametrize(
    ("angles", "number"), [((0.3,) * 5, 1.0), ((0.0, np.pi / 2), 2.0), ((0.0, 0.0, np.pi / 2, np.pi / 2), 2.0)]
)
def test_the_effective_number_counts_different_photos(angles: tuple[float, ...], number: float) -> None:
    assert effective_number(gram(*angles)) == pytest.approx(number)


@given(st.lists(st.floats(0, np.pi), min_size=1, max_size=12))
def test_the_effective_number_lies_between_one_and_the_number_of_photos(angles: list[float]) -> None:
    assert 1 - 1e-9 <= effective_number(gram(*angles)) <= len(angles) + 1e-9


def test_spread_is_the_mean_distance_of_pairs() -> None:
    assert spread(gram(0.0, np.pi / 2)) == pytest.approx(1)
    assert spread(gram(0.0, 0.0, np.pi / 2)) == pytest.approx(2 / 3)
    assert spread(gram(0.0)) == 0


def test_a_photo_is_compared_with_the_mean_of_the_others_and_not_with_itself() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    found = to_own_mean(vectors, np.array([True, True, True, False]))
    half = np.sqrt(0.5)
    assert found == pytest.approx([half, half, 0.0, (2 * 0.6 + 0.8) / np.sqrt(5)])


def test_coverage_is_the_mean_likeness_to_the_nearest_chosen_photo() -> None:
    everyone = np.ones(3, dtype=bool)
    assert coverage(gram(0.0, 0.0, np.pi / 2), [0], everyone) == pytest.approx(2 / 3)
    assert coverage(gram(0.0, 0.0, np.pi / 2), [0, 2], everyone) == pytest.approx(1)
    assert coverage(gram(0.0), [], np.ones(1, dtype=bool)) == 0
