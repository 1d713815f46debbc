import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from seedbank.bank import Bank
from seedbank.concepts import Concept
from seedbank.errors import OutsideError, UsageError
from seedbank.models.card import ModelCard
from seedbank.models.profiles import ModelProfile
from seedbank.references.judging.siblings import (
    NO_SIBLINGS,
    Draw,
    SiblingEmbeddings,
    Siblings,
    find_siblings,
    load_sibling_images,
)

if TYPE_CHECKING:
    from torch import Tensor

PROMPTS = ("a photo of a rod", "a photo of a bolt")
COLOURS = {PROMPTS[0]: (200, 10, 10), PROMPTS[1]: (10, 10, 200)}


@dataclass(frozen=True)
class MeanColour:
    """An embedding that needs no weights: the direction of the mean colour."""

    card: ModelCard

    def __call__(self, images01: "Tensor") -> "Tensor":
        import torch

        return torch.nn.functional.normalize(images01.mean((2, 3)), dim=-1)


COLOUR = MeanColour(ModelCard(name="colour", source="test", content="1" * 64))


class Draws:
    """Draws a plain colour for each prompt, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, prompt: str, count: int) -> Sequence[np.ndarray]:
        self.asked.append((prompt, count))
        return [np.full((8, 8, 3), COLOURS[prompt], np.uint8)] * count


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder: what is in it only has to have a digest, for nothing is loaded."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    return folder


def profile(folder: object) -> ModelProfile:
    return ModelProfile(name="tiny", pipeline=str(folder), encoder=("parts",), guard=("parts",))


def concept(**changes: object) -> Concept:
    values = {"name": "hook", "prompt": "a photo of a hook", "owner": "mia", "siblings": PROMPTS}
    return Concept.model_validate(values | changes)


def siblings_of(bank: Bank, model: object, asked: Concept, draw: Draw, *, photos: int = 9) -> Siblings:
    return find_siblings(bank, asked, profile(model), COLOUR, photos=photos, draw=draw)


def test_siblings_are_drawn_once_and_found_again(bank: Bank, model: Path) -> None:
    draw = Draws()
    found = siblings_of(bank, model, concept(), draw)
    assert found.prompts == PROMPTS
    assert found.centroids is not None
    assert found.centroids[0] == pytest.approx(
        np.array(COLOURS[PROMPTS[0]]) / np.linalg.norm(COLOURS[PROMPTS[0]]), abs=1e-5
    )
    assert draw.asked == [(PROMPTS[0], 8), (PROMPTS[1], 8)]
    again = siblings_of(bank, model, concept(), draw)
    assert len(draw.asked) == 2
    assert np.array_equal(again.centroids, found.centroids)  # type: ignore[arg-type]
    assert SiblingEmbeddings.from_bytes(bank.store.get(f"{found.folder}.json")).seeds == 8


def test_what_was_drawn_is_kept_for_people(bank: Bank, model: Path) -> None:
    images = load_sibling_images(bank, siblings_of(bank, model, concept(), Draws()))
    colours = [Image.open(io.BytesIO(image)).getpixel((0, 0)) for image in images]
    assert colours == [COLOURS[prompt] for prompt in PROMPTS]
    assert load_sibling_images(bank, NO_SIBLINGS) == ()


def test_another_model_seed_or_prompt_is_drawn_anew(bank: Bank, model: Path) -> None:
    draw = Draws()
    keys = {siblings_of(bank, model, concept(**change), draw).folder for change in ({}, {"seed": "7"})}
    keys.add(siblings_of(bank, model, concept(siblings=PROMPTS[:1]), draw).folder)
    (model / "weights.safetensors").write_bytes(b"other weights")
    keys.add(siblings_of(bank, model, concept(), draw).folder)
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("change", "photos", "reason"),
    [
        ({"siblings": ()}, 9, "the concept file names no siblings"),
        ({"policy": {"references": {"sibling_seeds": 0}}}, 9, "policy.references.sibling_seeds is 0"),
        ({}, 3, "fewer than 4 photos to compare"),
    ],
)
def test_who_wants_no_comparison_gets_none_and_the_reason(
    bank: Bank, model: Path, change: dict[str, object], photos: int, reason: str
) -> None:
    draw = Draws()
    found = siblings_of(bank, model, concept(**change), draw, photos=photos)
    assert found.centroids is None
    assert found.not_compared == reason
    assert draw.asked == []


@pytest.mark.parametrize("error", [OutsideError("the hub is down"), RuntimeError("out of memory"), OSError("disk")])
def test_a_model_that_cannot_draw_them_is_no_reason_to_do_without(bank: Bank, model: Path, error: Exception) -> None:
    def fail(prompt: str, count: int) -> Sequence[np.ndarray]:
        raise error

    with pytest.raises(OutsideError, match=rf"could not draw them \({error}\); mend that .*sibling_seeds to 0"):
        siblings_of(bank, model, concept(), fail)
    assert [key for key in bank.store.keys("siblings/") if key.endswith(".json")] == []


def test_a_concept_that_names_no_model_there_is_is_used_wrongly(bank: Bank) -> None:
    with pytest.raises(
        UsageError, match=r"cannot compare .* \(no folder 'nowhere': it was moved or removed, or .*sibling_seeds to 0"
    ):
        siblings_of(bank, "nowhere", concept(), Draws())
