"""The stock pipeline as a witness, family by family, and judges that are half of the network that a pipeline reads with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler, LCMScheduler
from transformers import CLIPConfig, CLIPModel

from seedbank.errors import UsageError
from seedbank.models.kinship import shared_text_encoder
from seedbank.models.loading import load_models
from seedbank.models.profiles import ModelProfile, parse_profile
from seedbank.models.stock import stock_image
from seedbank.selection.sampling.noise import draws
from seedbank.selection.sampling.sampler import default_config, make_sampler
from support import judges
from support import pipelines as tiny

SD = {"steps_offset": 1, **tiny.BETAS}
FAMILIES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "sd": (tiny.stable_diffusion, {"negative_prompt": "cd"}),
    "sd ancestral": (lambda: tiny.stable_diffusion(EulerAncestralDiscreteScheduler(**SD)), {"noise_key": "7"}),
    "sd by another scheduler": (tiny.stable_diffusion, {"scheduler": "EulerDiscreteScheduler"}),
    "consistency": (lambda: tiny.stable_diffusion(LCMScheduler(**SD), consistency=True), {}),
    "sdxl": (tiny.sdxl, {"negative_prompt": "cd", "height": 32}),
    "sd3": (tiny.sd3, {}),
    "flux": (tiny.flux, {"width": 32}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_stock_pipeline_draws_our_image(family: str) -> None:
    build, changes = FAMILIES[family]
    pipeline = build()
    own = pipeline.scheduler
    config = default_config(pipeline).model_copy(update={"num_inference_steps": 3, **changes})
    sampler = make_sampler(pipeline, "ab", config)
    noise = draws("stock", range(1), sampler.noise_shape)
    stock = stock_image(pipeline, sampler, "ab", noise)
    assert stock.shape == (config.height, config.width, 3)
    assert np.abs(stock.astype(int) - sampler.draw(noise)[0].astype(int)).max() <= 1
    assert pipeline.scheduler is own


def with_text_of(pipeline: Any, folder: Path) -> Path:
    """A whole CLIP whose reading half is the text encoder of ``pipeline``, rounded to half precision as some are published."""
    text = pipeline.text_encoder.config.to_dict()
    vision = {"hidden_size": 16, "image_size": 16, "patch_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(4)
    judge = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    weights = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in own(pipeline).items()}
    judge.load_state_dict(weights, strict=False)
    judge.half().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        (judges.clip(folder.parent / "any") / "preprocessor_config.json").read_text()
    )
    return folder


def own(pipeline: Any) -> dict[str, torch.Tensor]:
    return dict(pipeline.text_encoder.state_dict())


def profile(pipeline: Path, encoder: Path, guard: Path) -> ModelProfile:
    values = {"name": "engine", "pipeline": str(pipeline), "encoder": str(encoder), "guard": str(guard)}
    return parse_profile(values, "engine")


def test_a_judge_that_reads_as_the_pipeline_does_is_known_by_its_weights(tmp_path: Path) -> None:
    pipeline = tiny.sdxl()
    assert shared_text_encoder(pipeline, with_text_of(pipeline, tmp_path / "kin")) == "text_encoder"
    assert not shared_text_encoder(pipeline, judges.clip(tmp_path / "clip"))
    assert not shared_text_encoder(pipeline, judges.dinov2(tmp_path / "dinov2"))


def test_such_a_guard_is_refused_and_such_an_encoder_is_noted(tmp_path: Path) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(tmp_path / "engine")
    kin, other = with_text_of(pipeline, tmp_path / "kin"), judges.dinov2(tmp_path / "dinov2")
    with pytest.raises(
        UsageError, match=r"the guard .*kin.* and the pipeline's own text_encoder are halves of one network"
    ):
        load_models(profile(tmp_path / "engine", other, kin))
    (note,) = load_models(profile(tmp_path / "engine", kin, other)).notes
    assert note.endswith("an encoder of another family says more")
