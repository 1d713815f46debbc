"""What identifies a trial, and how its pictures are packed."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seedbank.concepts import Concept
from seedbank.models import Embedder, LoadedModel
from seedbank.models.card import ModelCard
from seedbank.models.judges import Network, Preprocess
from seedbank.models.loading import Models
from seedbank.models.profiles import ModelProfile
from seedbank.references.records import ReferenceSet
from seedbank.selection import BALANCED, SEEDSELECT_V1
from seedbank.selection.records import SamplerConfig
from seedbank.storage.images import pixel_digest, png
from seedbank.trials.inputs import Inputs

SAMPLER = SamplerConfig(
    scheduler="DDIMScheduler", num_inference_steps=9, guidance_scale=2.5, height=64, width=64, dtype="float32"
)
CONCEPT = Concept(name="cog", prompt="a cog", owner="mia")
SET = ReferenceSet(
    concept="cog", concept_digest="0" * 64, references=(), assessments=(), measures={}, validation="0" * 64
)


def card(digit: str) -> ModelCard:
    return ModelCard(name="m", source="folder", content=digit * 64)


def judge(digit: str) -> Embedder:
    return Embedder((Network(None, "image_embeds", Preprocess(64, (0.5,) * 3, (0.5,) * 3), card(digit)),))


PROFILE = ModelProfile(name="parts", pipeline="parts", encoder=("parts",), guard=("parts",))
MODELS = Models(PROFILE, LoadedModel(None, card("1"), SAMPLER), judge("2"), judge("3"))
INPUTS = Inputs(CONCEPT, SET, MODELS, BALANCED)


def test_the_same_inputs_have_the_same_key_and_folder() -> None:
    assert replace(INPUTS).key == INPUTS.key
    assert INPUTS.folder == f"trials/cog/{INPUTS.key}"


@pytest.mark.parametrize(
    "change",
    [
        {"concept": CONCEPT.model_copy(update={"seed": "1"})},
        {"reference_set": SET.model_copy(update={"validation": "1" * 64})},
        {"models": replace(MODELS, model=LoadedModel(None, card("9"), SAMPLER))},
        {
            "models": replace(
                MODELS, model=LoadedModel(None, card("1"), SAMPLER.model_copy(update={"dtype": "float16"}))
            )
        },
        {"models": replace(MODELS, encoder=judge("9"))},
        {"models": replace(MODELS, guard=judge("9"))},
        {"models": replace(MODELS, guard=Embedder((*judge("3").networks, *judge("9").networks)))},
        {"recipe": SEEDSELECT_V1},
        {"recipe": PROFILE.adapt(BALANCED)},
        {"code": "other"},
    ],
    ids=[
        "concept",
        "references",
        "model",
        "sampler",
        "encoder",
        "guard",
        "second guard",
        "recipe",
        "orientation",
        "code",
    ],
)
def test_whatever_decides_the_outcome_changes_the_key(change: dict[str, Any]) -> None:
    assert replace(INPUTS, **change).key != INPUTS.key


def test_pictures_survive_packing_and_equal_pixels_have_equal_bytes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)
    assert png(pixels) == png(pixels.copy())


def test_the_pixel_digest_tells_shape_and_values_apart() -> None:
    flat = np.zeros((2, 6, 3), np.uint8)
    assert pixel_digest(flat) == pixel_digest(flat.copy())
    assert len({pixel_digest(flat), pixel_digest(flat.reshape(6, 2, 3)), pixel_digest(flat + 1)}) == 3
