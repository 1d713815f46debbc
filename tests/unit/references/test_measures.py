import numpy as np
import pytest
from PIL import Image, ImageFilter

from seedbank.references.measures import PHOTO_MEASURES, SIDE, luma, measure, noise
from support.photos import photo


def flat(level: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def grainy(sigma: float) -> Image.Image:
    values = np.random.default_rng(1).normal(128, sigma, (SIDE, SIDE))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")


def test_every_measure_has_a_unit_and_a_source() -> None:
    assert set(measure(photo())) == {item.name for item in PHOTO_MEASURES}
    assert all(item.unit and item.source for item in PHOTO_MEASURES)


def test_an_empty_picture_measures_nothing() -> None:
    assert measure(flat(128)) == {
        "min_side_px": 200,
        "aspect": 1.5,
        "sharpness": 0,
        "contrast": 0,
        "clipped": 0,
        "noise": 0,
    }


def test_a_checkerboard_has_the_sharpness_that_algebra_gives() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 100
    inner = measure(Image.fromarray(board.astype(np.uint8)).convert("RGB"))["sharpness"]
    assert inner == pytest.approx(400**2, rel=0.05)  # each inner pixel differs by 100 from four neighbours


def test_blur_takes_sharpness_away() -> None:
    values = [measure(photo(size=384).filter(ImageFilter.GaussianBlur(radius)))["sharpness"] for radius in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 20 > values[3]


def test_black_and_white_pixels_are_clipped() -> None:
    picture = flat(255)
    picture.paste((0, 0, 0), (0, 0, 150, 200))
    picture.paste((128, 128, 128), (0, 0, 75, 200))
    assert measure(picture)["clipped"] == pytest.approx(0.75, abs=0.01)


def test_contrast_of_half_black_half_white_is_one_half() -> None:
    picture = flat(255)
    picture.paste((0, 0, 0), (0, 0, 150, 200))
    assert measure(picture)["contrast"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_noise_is_measured_in_grey_levels(sigma: float) -> None:
    assert noise(luma(grainy(sigma))) == pytest.approx(sigma, rel=0.1)


def test_large_photos_are_measured_at_one_size_and_small_ones_as_they_are() -> None:
    assert luma(flat(9, (1000, 500))).shape == (SIDE // 2, SIDE)
    assert luma(flat(9, (40, 30))).shape == (30, 40)
