from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from seedbank.bank import Bank
from seedbank.concepts import Concept
from seedbank.errors import OutsideError
from seedbank.models.card import ModelCard
from seedbank.references.judging.siblings import SiblingImages, find_siblings

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

    def __call__(self, concept: Concept, prompt: str, count: int) -> Sequence[np.ndarray]:
        self.asked.append((prompt, count))
        return [np.full((8, 8, 3), COLOURS[prompt], np.uint8)] * count


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder: what is in it only has to have a digest, for nothing is loaded."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    return folder


def concept(folder: object, **changes: object) -> Concept:
    values = {"name": "hook", "prompt": "a photo of a hook", "owner": "mia", "siblings": PROMPTS, "model": str(folder)}
    return Concept.model_validate(values | changes)


def test_siblings_are_drawn_once_and_found_again(bank: Bank, model: Path) -> None:
    draw = Draws()
    found, key = find_siblings(bank, concept(model), COLOUR, draw=draw)
    assert found.prompts == PROMPTS
    assert found.centroids is not None
    assert found.centroids[0] == pytest.approx(
        np.array(COLOURS[PROMPTS[0]]) / np.linalg.norm(COLOURS[PROMPTS[0]]), abs=1e-5
    )
    assert draw.asked == [(PROMPTS[0], 8), (PROMPTS[1], 8)]
    assert bank.store.exists(f"{key}/1.png")
    again, _ = find_siblings(bank, concept(model), COLOUR, draw=draw)
    assert len(draw.asked) == 2
    assert np.array_equal(again.centroids, found.centroids)  # type: ignore[arg-type]
    assert SiblingImages.from_bytes(bank.store.get(f"{key}.json")).seeds == 8


def test_another_model_seed_or_prompt_is_drawn_anew(bank: Bank, model: Path) -> None:
    draw = Draws()
    keys = {find_siblings(bank, concept(model, **change), COLOUR, draw=draw)[1] for change in ({}, {"seed": "7"})}
    keys.add(find_siblings(bank, concept(model, siblings=PROMPTS[:1]), COLOUR, draw=draw)[1])
    (model / "weights.safetensors").write_bytes(b"other weights")
    keys.add(find_siblings(bank, concept(model), COLOUR, draw=draw)[1])
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"siblings": ()}, "the concept file names no siblings"),
        ({"policy": {"references": {"sibling_seeds": 0}}}, "policy.references.sibling_seeds is 0"),
        ({"model": "nowhere"}, "the model 'nowhere' could not draw them: expected a model as 'parts'"),
    ],
)
def test_what_cannot_be_compared_says_why(bank: Bank, model: Path, change: dict[str, object], reason: str) -> None:
    found, key = find_siblings(bank, concept(model, **change), COLOUR, draw=Draws())
    assert found.centroids is None
    assert found.missing.startswith(reason)
    assert key == ""


@pytest.mark.parametrize("error", [OutsideError("the hub is down"), RuntimeError("out of memory"), OSError("disk")])
def test_a_model_that_fails_takes_nothing_else_away(bank: Bank, model: Path, error: Exception) -> None:
    def fail(concept: Concept, prompt: str, count: int) -> Sequence[np.ndarray]:
        raise error

    found, _ = find_siblings(bank, concept(model), COLOUR, draw=fail)
    assert found.missing.endswith(str(error))
    assert [key for key in bank.store.keys("siblings/") if key.endswith(".json")] == []
