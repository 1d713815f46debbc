"""Pipelines and judges through their files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
)
from transformers import ConvNextConfig, ConvNextForImageClassification

from seedbank.errors import UsageError
from seedbank.models import load_auditor, load_encoder, load_guard, load_pipeline
from seedbank.models.judges import Preprocess
from seedbank.selection.sampling.sampler import make_sampler
from support import pipelines as tiny
from support.tolerance import close

SETTINGS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.5, 0.5], "size": 16}


@pytest.fixture(scope="module")
def saved(build_pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    build_pipeline("v_prediction").save_pretrained(folder, safe_serialization=True)
    return folder


def test_a_pipeline_comes_back_frozen_with_ddim_and_a_stable_card(saved: Path) -> None:
    loaded, again = load_pipeline(str(saved)), load_pipeline(str(saved))
    assert loaded.card == again.card
    assert loaded.pipeline.scheduler.config.prediction_type == "v_prediction"
    assert not any(weight.requires_grad for weight in loaded.pipeline.unet.parameters())
    assert (loaded.sampler.num_inference_steps, loaded.sampler.guidance_scale, loaded.sampler.height) == (20, 7.5, 16)
    assert loaded.sampler.dtype == "float32"


def test_the_model_says_how_it_is_meant_to_be_sampled(saved: Path, tmp_path: Path) -> None:
    side = _copy(saved, tmp_path)
    (side / "seedbank.json").write_text('{"num_inference_steps": 9, "guidance_scale": 2.5, "height": 32, "width": 16}')
    sampler = load_pipeline(str(side)).sampler
    assert (sampler.num_inference_steps, sampler.guidance_scale, sampler.height, sampler.width) == (9, 2.5, 32, 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"num_inference_steps": "many"}', "got a wrong num_inference_steps"),
        ('{"stepz": 3}', "got a wrong stepz"),
        ("[]", "expected sampling settings in seedbank.json"),
        ("{", "expected sampling settings in seedbank.json"),
    ],
)
def test_wrong_sampling_settings_are_refused(saved: Path, tmp_path: Path, settings: str, message: str) -> None:
    side = _copy(saved, tmp_path)
    (side / "seedbank.json").write_text(settings)
    with pytest.raises(UsageError, match=message):
        load_pipeline(str(side))


@pytest.mark.parametrize(
    ("build", "steps", "guidance"),
    [
        (lambda: tiny.stable_diffusion(LCMScheduler(**tiny.BETAS), consistency=True), 4, 8.5),
        (lambda: tiny.stable_diffusion(DPMSolverMultistepScheduler(steps_offset=1, **tiny.BETAS)), 20, 7.5),
        (lambda: tiny.sdxl(EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **tiny.BETAS)), 1, 0.0),
        (tiny.sdxl, 25, 5.0),
        (tiny.sd3, 28, 7.0),
        (lambda: tiny.flux(guidance_input=False), 4, 0.0),
    ],
    ids=["lcm", "sd dpm", "sdxl turbo", "sdxl", "sd3", "flux schnell"],
)
def test_every_family_comes_back_with_its_own_scheduler_and_draws_the_same(
    build: Any, steps: int, guidance: float, tmp_path: Path
) -> None:
    pipeline = build()
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    loaded = load_pipeline(str(tmp_path))
    assert type(loaded.pipeline).__name__ == type(pipeline).__name__
    assert loaded.sampler.scheduler == type(pipeline.scheduler).__name__
    assert (loaded.sampler.num_inference_steps, loaded.sampler.guidance_scale) == (steps, guidance)
    assert loaded.notes == ()
    small = loaded.sampler.model_copy(update={"num_inference_steps": 2, "height": 16, "width": 16})
    before, after = (make_sampler(pipe, "ab", small) for pipe in (pipeline, loaded.pipeline))
    noise = torch.randn(1, *before.noise_shape, generator=torch.Generator().manual_seed(1))
    expected = before.denoise(noise)  # weights mapped from a file lie elsewhere in memory: kernels may round otherwise
    close(after.denoise(noise), expected, steps=len(before.steps))
    assert not any(weight.requires_grad for weight in after.family.network.parameters())


def test_a_scheduler_that_cannot_be_reproduced_gives_way_to_ddim_and_it_is_said(tmp_path: Path) -> None:
    pipeline = tiny.stable_diffusion(PNDMScheduler(skip_prk_steps=True, steps_offset=1, **tiny.BETAS))
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    loaded = load_pipeline(str(tmp_path))
    assert isinstance(loaded.pipeline.scheduler, DDIMScheduler)
    assert loaded.pipeline.scheduler.config.beta_end == tiny.BETAS["beta_end"]
    assert not loaded.pipeline.scheduler.config.clip_sample
    assert loaded.notes[0].startswith("the model ships PNDMScheduler; sampled with DDIM instead: expected one of")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: tiny.sd3(FlowMatchHeunDiscreteScheduler()), "got FlowMatchHeun.*no other scheduler for flow models"),
        (
            lambda: tiny.stable_diffusion(PNDMScheduler(steps_offset=1), consistency=True),
            "got PNDMScheduler; a latent consistency model is sampled with its LCMScheduler",
        ),
    ],
    ids=["flow", "consistency"],
)
def test_where_ddim_would_be_wrong_the_model_is_refused(build: Any, message: str, tmp_path: Path) -> None:
    build().save_pretrained(tmp_path, safe_serialization=True)
    with pytest.raises(UsageError, match=message):
        load_pipeline(str(tmp_path))


def test_weights_may_be_there_in_half_precision_only(tmp_path: Path) -> None:
    tiny.stable_diffusion().save_pretrained(tmp_path, safe_serialization=True, variant="fp16")
    assert load_pipeline(str(tmp_path)).pipeline.unet.dtype == torch.float32
    assert load_pipeline(str(tmp_path), dtype=torch.bfloat16).sampler.dtype == "bfloat16"


def test_another_family_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected one of \['FluxPipeline', .*\] in .*, got 'KandinskyPipeline'"):
        load_pipeline(str(_edit(saved, tmp_path, _class_name="KandinskyPipeline")))


def test_a_repository_with_code_of_its_own_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"wants to run its own code for 'unet' \(from 'my_unet'\)"):
        load_pipeline(str(_edit(saved, tmp_path, unet=["my_unet", "MyUNet"])))


def test_a_part_with_code_of_its_own_is_refused(saved: Path, tmp_path: Path) -> None:
    side = _copy(saved, tmp_path)
    settings = json.loads((side / "text_encoder/config.json").read_text())
    (side / "text_encoder/config.json").write_text(json.dumps({**settings, "auto_map": {"AutoModel": "mine.Mine"}}))
    with pytest.raises(UsageError, match=r"its own code for 'text_encoder' \(auto_map .*remote code is never run"):
        load_pipeline(str(side))


def test_a_custom_pipeline_class_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this family is not supported"):
        load_pipeline(str(_edit(saved, tmp_path, _class_name=["pipeline", "MyPipeline"])))


def test_one_pickled_part_is_enough_to_refuse(saved: Path, tmp_path: Path) -> None:
    side = _copy(saved, tmp_path)
    (weights,) = (side / "vae").glob("*.safetensors")
    weights.rename(side / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(
        UsageError, match=r"weights for 'vae' in .*, got only diffusion_pytorch_model\.bin, which can run"
    ):
        load_pipeline(str(side))


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_missing_and_broken_weights_are_named(saved: Path, tmp_path: Path, part: str) -> None:
    side = _copy(saved, tmp_path)
    (weights,) = (side / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(UsageError, match=r"cannot load .*: .*; check that the download is complete"):
        load_pipeline(str(side))
    weights.unlink()
    with pytest.raises(UsageError, match=r"cannot load .*: .*; check that the download is complete"):
        load_pipeline(str(side))


def test_a_folder_that_is_no_pipeline_is_refused(saved: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a diffusers model_index\.json"):
        load_pipeline(str(saved / "unet"))


def test_embeddings_have_length_one_and_a_gradient(encoder: Any, guard: Any, tmp_path: Path) -> None:
    for made, load in ((encoder, load_encoder), (guard, load_guard)):
        folder = tmp_path / made.networks[0].output
        made.networks[0].module.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(SETTINGS))
        loaded = load(str(folder))
        images = torch.rand(3, 3, 20, 24, requires_grad=True)
        found = loaded(images)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
        (gradient,) = torch.autograd.grad(found[:, 0].sum(), images)
        assert gradient.abs().sum() > 0
        assert loaded.size == 16


def test_the_auditor_gives_a_logit_for_each_label(tmp_path: Path) -> None:
    config = ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], id2label={0: "cog", 1: "nut", 2: "none"})
    ConvNextForImageClassification(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**SETTINGS, "size": {"height": 32, "width": 32}}))
    auditor = load_auditor(str(tmp_path))
    assert auditor.labels == ("cog", "nut", "none")
    assert auditor(torch.rand(2, 3, 16, 16)).shape == (2, 3)


def test_a_judge_without_its_preprocessing_is_refused(guard: Any, tmp_path: Path) -> None:
    guard.networks[0].module.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"expected preprocessor_config\.json with size, image_mean and image_std"):
        load_guard(str(tmp_path))


def test_preprocessing_covers_and_crops_the_centre() -> None:
    wide = torch.zeros(1, 3, 8, 24)
    wide[..., 8:16] = 1
    seen = Preprocess(8, (0.0,) * 3, (1.0,) * 3)(wide)
    assert torch.equal(seen, torch.ones(1, 3, 8, 8))


def test_preprocessing_normalises() -> None:
    seen = Preprocess(4, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))(torch.ones(1, 3, 16, 16))
    torch.testing.assert_close(seen[0, :, 0, 0], torch.tensor([1.0, 3.0, 1.0]))


@pytest.mark.parametrize(
    ("size", "side"), [(7, 7), ({"shortest_edge": 9}, 9), ({"height": 5, "width": 5}, 5)], ids=["number", "edge", "box"]
)
def test_sizes_are_read_in_every_spelling(tmp_path: Path, size: object, side: int) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**SETTINGS, "size": size}))
    assert Preprocess.load(tmp_path).size == side


def _copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def _edit(saved: Path, tmp_path: Path, **changes: object) -> Path:
    side = _copy(saved, tmp_path)
    index = json.loads((side / "model_index.json").read_text())
    (side / "model_index.json").write_text(json.dumps({**index, **changes}))
    return side


def test_the_same_files_are_loaded_once_and_changed_files_again(build_pipeline: Any, tmp_path: Path) -> None:
    build_pipeline().save_pretrained(tmp_path / "one")
    first = load_pipeline(str(tmp_path / "one"))
    assert load_pipeline(str(tmp_path / "one")) is first
    (tmp_path / "one" / "seedbank.json").write_text('{"num_inference_steps": 3}')
    again = load_pipeline(str(tmp_path / "one"))
    assert (again.sampler.num_inference_steps, again.card.content == first.card.content) == (3, False)
    assert load_pipeline(str(tmp_path / "one"), dtype=torch.bfloat16).sampler.dtype == "bfloat16"


@pytest.mark.parametrize(("side", "batch_size"), [(16, 8), (256, 8), (258, 1)])
def test_small_images_are_drawn_many_at_once_and_large_ones_alone(
    build_pipeline: Any, tmp_path: Path, side: int, batch_size: int
) -> None:
    build_pipeline().save_pretrained(tmp_path)
    (tmp_path / "seedbank.json").write_text(json.dumps({"height": side, "width": side}))
    assert load_pipeline(str(tmp_path)).sampler.batch_size == batch_size
    (tmp_path / "seedbank.json").write_text(json.dumps({"height": side, "width": side, "batch_size": 2}))
    assert load_pipeline(str(tmp_path)).sampler.batch_size == 2
