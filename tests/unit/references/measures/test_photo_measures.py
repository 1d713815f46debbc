import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from seedbank.references.measures.catalogue import PHOTO
from seedbank.references.measures.photo import SIDE, ScaledPhoto, jpeg_quality, measure
from support.photos import jpeg, photo


def flat(level: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def test_what_is_measured_is_what_the_catalogue_names() -> None:
    assert list(measure(photo())) == [item.name for item in PHOTO]


def test_an_empty_picture_measures_nothing() -> None:
    found = measure(flat(128))
    assert np.isnan(found.pop("jpeg_quality"))
    assert found == {
        "min_side_px": 200,
        "aspect": 1.5,
        "sharpness": 0,
        "exposure": pytest.approx(128 / 255, abs=1e-4),
        "contrast": 0,
        "border": 0,
        "edge_marks": 0,
    }


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (7, 9), (40, 30)])
def test_the_smallest_pictures_can_be_measured(size: tuple[int, int]) -> None:
    found = measure(Image.new("RGB", size, "red"))
    assert found["min_side_px"] == min(size)
    assert found["border"] == found["edge_marks"] == 0


def test_a_checkerboard_has_the_sharpness_that_algebra_gives() -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 100
    inner = measure(Image.fromarray(board.astype(np.uint8)).convert("RGB"))["sharpness"]
    assert inner == pytest.approx(400**2, rel=0.05)  # each inner pixel differs by 100 from four neighbours


def test_blur_takes_sharpness_away() -> None:
    values = [measure(photo(size=384).filter(ImageFilter.GaussianBlur(radius)))["sharpness"] for radius in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 20 > values[3]


def test_exposure_and_contrast_of_half_black_half_white_are_one_half() -> None:
    picture = flat(255)
    picture.paste((0, 0, 0), (0, 0, 150, 200))
    found = measure(picture)
    assert found["contrast"] == pytest.approx(0.5, abs=0.01)
    assert found["exposure"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("quality", [10, 25, 50, 75, 90, 98])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality: int) -> None:
    data = jpeg(photo(), quality)
    assert jpeg_quality(data) == pytest.approx(quality, abs=1)
    assert jpeg_quality(data[:2000]) == jpeg_quality(data)


def test_other_formats_have_no_jpeg_quality() -> None:
    buffer = io.BytesIO()
    photo().save(buffer, "PNG")
    assert np.isnan(jpeg_quality(buffer.getvalue()))
    assert np.isnan(jpeg_quality(b""))


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_have_a_jpeg_quality_or_none(data: bytes, begins_right: bool) -> None:
    found = jpeg_quality(b"\xff\xd8\xff\xdb" + data if begins_right else data)
    assert np.isnan(found) or 1 <= found <= 100


def test_bars_along_the_sides_are_measured_and_a_plain_background_is_none() -> None:
    inside = photo("hook", 3, 300)
    framed = Image.new("RGB", (300, 400))
    framed.paste(inside, (0, 50))
    assert measure(framed)["border"] == pytest.approx(0.25, abs=0.02)
    assert measure(inside)["border"] == 0
    assert measure(flat(255))["border"] == 0


def test_a_thing_on_studio_white_has_no_frame() -> None:
    studio = flat(255)
    studio.paste((40, 90, 30), (90, 45, 180, 150))
    assert measure(studio)["border"] == 0


def test_a_caption_at_the_edge_is_a_mark() -> None:
    clean = photo("hook", 3, 400)
    marked = clean.copy()
    ImageDraw.Draw(marked).text((8, 384), "(c) ACME 2026 stock", fill=(255, 255, 255))
    assert measure(clean)["edge_marks"] < 0.5
    assert measure(marked)["edge_marks"] > 1.4


def test_large_photos_are_measured_at_one_size_and_small_ones_as_they_are() -> None:
    assert ScaledPhoto.of(flat(9, (1000, 500))).grey.shape == (SIDE // 2, SIDE)
    assert ScaledPhoto.of(flat(9, (40, 30))).grey.shape == (30, 40)
