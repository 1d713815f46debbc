"""What the face cascade raises a question about, and what it does not."""

from pathlib import Path

import pytest
from PIL import Image, ImageOps

from seedbank.references.intake.faces import count_faces
from support.photos import face, photo

PHOTOS = Path(__file__).parents[4] / "examples" / "photos"


@pytest.mark.parametrize("size", [160, 256, 512, 1500])
def test_a_portrait_raises_the_question_at_any_size(size: int) -> None:
    assert count_faces(face(size)) >= 1


def test_so_does_its_mirror_image_and_one_in_a_scene() -> None:
    assert count_faces(ImageOps.mirror(face())) >= 1
    scene = Image.new("RGB", (640, 480), (128, 120, 110))
    scene.paste(face(460), (90, 10))
    assert count_faces(scene) >= 1


def test_the_shipped_photos_of_machine_parts_raise_none() -> None:
    found = {}
    for path in sorted(PHOTOS.glob("*/photo-0[1-3].*")):
        if path.suffix != ".yaml":
            with Image.open(path) as image:
                found[f"{path.parent.name}/{path.name}"] = count_faces(image.convert("RGB"))
    assert len(found) > 20
    assert not {name for name, count in found.items() if count}


@pytest.mark.parametrize("size", [(1, 1), (23, 900), (20_000, 3)])
def test_what_is_too_small_for_a_face_has_none(size: tuple[int, int]) -> None:
    assert count_faces(Image.new("RGB", size)) == 0


def test_renders_have_none() -> None:
    assert [count_faces(photo("hook", index, 384)) for index in range(5)] == [0] * 5
