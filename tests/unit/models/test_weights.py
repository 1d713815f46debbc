"""Which files of a repository are read, by their names."""

from __future__ import annotations

import pytest

from seedbank.errors import UsageError
from seedbank.models.weights import choose, form_of, parts_of

MIXED = [
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder_3/model-00001-of-00002.safetensors",
    "text_encoder_3/model-00002-of-00002.safetensors",
    "text_encoder_3/model.fp16-00001-of-00002.safetensors",
    "text_encoder_3/model.fp16-00002-of-00002.safetensors",
    "text_encoder_3/model.safetensors.index.json",
    "text_encoder_3/model.safetensors.index.fp16.json",
    "transformer/diffusion_pytorch_model.safetensors",
    "tokenizer/merges.txt",
    "text_encoders/clip_g.safetensors",
    "whole.safetensors",
]
"""A repository that holds some parts in one form and some in two, and everything once more for another program."""


@pytest.mark.parametrize("half", [False, True])
def test_of_each_part_one_form_is_chosen(half: bool) -> None:
    folders = ["text_encoder", "text_encoder_3", "transformer", "tokenizer"]
    chosen = choose(MIXED, folders=folders, half=half, source="x")
    form = ".fp16" if half else ""
    index = ".fp16" if half else ""
    assert set(chosen.settings) == {"text_encoder/config.json", "tokenizer/merges.txt"}
    assert set(chosen.weights) == {
        f"text_encoder/model{form}.safetensors",
        f"text_encoder_3/model{form}-00001-of-00002.safetensors",
        f"text_encoder_3/model{form}-00002-of-00002.safetensors",
        f"text_encoder_3/model.safetensors.index{index}.json",
        "transformer/diffusion_pytorch_model.safetensors",
    }


def test_full_weights_are_the_half_ones_where_there_are_no_others() -> None:
    names = ["unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors"]
    assert choose(names, folders=["unet"], half=False, source="x").weights == (names[0],)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("model.safetensors", ""),
        ("diffusion_pytorch_model.fp16.safetensors", "fp16"),
        ("model-00001-of-00002.fp16.safetensors", "fp16"),
        ("diffusion_pytorch_model.fp16.safetensors.index.json", "fp16"),
        ("diffusion_pytorch_model.safetensors.index.json", ""),
        ("diffusion_pytorch_model.non_ema.safetensors", "non_ema"),
        ("open_clip_model.safetensors", None),
        ("model.onnx", None),
        ("config.json", None),
    ],
)
def test_the_form_of_weights_stands_in_their_name(name: str, form: str | None) -> None:
    assert form_of(name) == form


def test_no_name_leads_out_of_the_folder() -> None:
    names = [
        "../model.safetensors",
        "unet/../../model.safetensors",
        "/model.safetensors",
        ".git/config.json",
        "unet/model.safetensors",
    ]
    assert choose(names, folders=["", "..", "unet", ".git"], half=False, source="x").weights == (
        "unet/model.safetensors",
    )


def test_pickles_of_one_part_are_refused() -> None:
    names = ["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"]
    with pytest.raises(
        UsageError, match=r"in 'maker/model', got only vae/diffusion_pytorch_model\.bin, which can run code"
    ):
        choose(names, folders=["unet", "vae"], half=False, source="maker/model")


def test_a_repository_without_weights_is_refused() -> None:
    with pytest.raises(
        UsageError, match="expected safetensors weights in 'maker/model', got no weights; check that it is"
    ):
        choose(["config.json"], folders=[""], half=False, source="maker/model")


def test_parts_that_are_never_loaded_are_left_out_and_code_is_refused() -> None:
    index = {
        "_class_name": "X",
        "unet": ["diffusers", "U"],
        "safety_checker": ["own", "S"],
        "image_encoder": [None, None],
    }
    assert list(parts_of(index, "x")) == ["unet"]
    with pytest.raises(UsageError, match=r"wants to run its own code for 'vae' \(from 'own'\)"):
        parts_of({"vae": ["own", "V"]}, "x")
