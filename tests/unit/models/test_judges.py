"""Judges by what they are: CLIP, SigLIP, DINOv2, one network or several, and a profile's models as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from seedbank.errors import UsageError
from seedbank.models import load_encoder, load_guard
from seedbank.models.judges import Embedder
from seedbank.models.loading import load_models
from seedbank.models.profiles import ModelProfile, parse_profile
from support import judges
from support.pipelines import stable_diffusion

IMAGES = torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(0))


def whole(folder: Path, kind: str) -> torch.Tensor:
    """What transformers' own class gives for the images as the judge sees them."""
    seen = load_encoder(str(folder)).networks[0].preprocess(IMAGES)
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    with torch.no_grad():
        if kind == "Dinov2Model":
            return torch.as_tensor(model(pixel_values=seen).pooler_output)
        found = model.get_image_features(pixel_values=seen)
    return torch.as_tensor(getattr(found, "pooler_output", found))


@pytest.mark.parametrize(
    ("make", "kind"), [(judges.clip, "CLIPModel"), (judges.siglip, "SiglipModel"), (judges.dinov2, "Dinov2Model")]
)
def test_an_embedding_is_the_one_that_the_whole_model_gives(
    tmp_path: Path, make: Callable[[Path], Path], kind: str
) -> None:
    folder = make(tmp_path)
    for loaded in (load_encoder(str(folder)), load_guard(str(folder))):
        torch.testing.assert_close(loaded.features(IMAGES), whole(folder, kind), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(loaded(IMAGES).norm(dim=1), torch.ones(3))


def test_the_cosine_of_several_networks_is_the_mean_of_theirs(tmp_path: Path) -> None:
    folders = [str(judges.clip(tmp_path / "clip")), str(judges.dinov2(tmp_path / "dinov2"))]
    both, *single = load_encoder(*folders), *map(load_encoder, folders)

    def cosines(judge: Embedder) -> torch.Tensor:
        found = judge(IMAGES)
        return found @ found.T

    torch.testing.assert_close(cosines(both), torch.stack([cosines(judge) for judge in single]).mean(0))
    assert both.card.members == (single[0].card, single[1].card)
    assert both.card.name == "clip and dinov2"
    assert load_encoder(*reversed(folders)).card.content != both.card.content


def test_a_folder_without_a_vision_model_is_refused(tmp_path: Path) -> None:
    folder = judges.clip(tmp_path)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 3}))
    with pytest.raises(UsageError, match=r"expected the config\.json of a vision model in .*'model_type'"):
        load_guard(str(folder))


def profile_of(folder: Path, **changes: object) -> ModelProfile:
    for name, make in (("encoder", judges.siglip), ("guard", judges.dinov2)):
        make(folder / name)
    stable_diffusion().save_pretrained(folder / "pipeline")
    places = {name: str(folder / name) for name in ("pipeline", "encoder", "guard")}
    return parse_profile({"name": "tiny", **places, **changes}, "the test's profile")


def test_a_profile_says_how_its_model_is_sampled_and_in_which_arithmetic(tmp_path: Path) -> None:
    sampler = {"num_inference_steps": 3, "guidance_scale": 2.0, "negative_prompt": "dab", "height": 32}
    config = load_models(profile_of(tmp_path, sampler=sampler, precision="bfloat16")).model.sampler
    assert (config.num_inference_steps, config.guidance_scale, config.negative_prompt) == (3, 2.0, "dab")
    assert (config.height, config.width, config.dtype) == (32, 16, "bfloat16")


def test_a_judge_that_is_followed_cannot_accept_under_another_name(tmp_path: Path) -> None:
    profile = profile_of(tmp_path)
    judges.siglip(tmp_path / "again")
    with pytest.raises(UsageError, match=r"encoder and the guard of the model profile 'tiny' are the same network"):
        load_models(profile.model_copy(update={"guard": (str(tmp_path / "guard"), str(tmp_path / "again"))}))
