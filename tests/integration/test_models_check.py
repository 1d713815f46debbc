"""``seedbank models check`` by the command line, on a tiny pipeline in a folder with tiny judges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from diffusers import PNDMScheduler
from typer.testing import CliRunner, Result

from seedbank.cli.app import app
from seedbank.errors import RefusedError, UsageError
from seedbank.models.profiles import load_profile
from seedbank.selection.search.recipes import PRESETS
from seedbank.trials.checks.records import Check, Comparison
from seedbank.trials.checks.run import check_profile
from support import judges
from support import pipelines as tiny
from support.profiles import write_profiles

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("check")
    scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1, **tiny.BETAS)
    tiny.stable_diffusion(scheduler).save_pretrained(folder / "models" / "tiny")
    judges.siglip(folder / "models" / "eyes")
    judges.dinov2(folder / "models" / "gate")
    profile = {
        "pipeline": "tiny",
        "encoder": "eyes",
        "guard": "gate",
        "sampler": {"num_inference_steps": 3, "negative_prompt": "cd"},
    }
    write_profiles(folder / "models", engine=profile)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("SEEDBANK_HOME", "home"), ("SEEDBANK_MODELS", "models")):
            patch.setenv(name, str(folder / value))
        patch.setenv("SEEDBANK_DEVICE", "cpu")
        patch.setenv("COLUMNS", "200")
        yield folder


def seedbank(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", "check", *arguments])


def test_it_says_what_the_model_is_here_and_what_a_trial_takes(home: Path) -> None:
    said = seedbank("engine", "--prompt", "abcdefghij")
    assert said.exit_code == 0, said.exception
    for words in (
        "engine: StableDiffusionPipeline on cpu, DDIMScheduler, 3 steps, guidance 7.5, 16x16, float32, 8 at once, negative prompt 'cd'",
        "encoder: eyes (files",
        "a siglip",
        "guard: gate (files",
        "a dinov2",
        "prompt 'abcdefghij': 12 of 8 tokens; the model does not see",
        "note: the model ships PNDMScheduler; sampled with DDIM instead",
        "beside the stock pipeline: the same image, levels differ by up to",
        "s an image, 8 at once",
        "images of the model's own stood in for references",
        "the gradient mode of its searches, one_vjp@0.4, ",
        "a trial of 8 candidates here",
    ):
        assert words in said.stdout
    assert all(preset in said.stdout for preset in PRESETS)


def test_as_json_it_has_the_numbers_and_leaves_speeds_for_the_first_search(home: Path) -> None:
    said = seedbank("engine", "--prompt", "ab", "--quick", "--json")
    assert said.exit_code == 0, said.exception
    found = json.loads(said.stdout)
    assert found["sampler"]["scheduler"] == "DDIMScheduler"
    assert found["comparison"]["most"] <= 1
    assert found["calibration"] is None
    assert [cost["preset"] for cost in found["presets"]] == list(PRESETS)
    assert all(0 < cost["seconds"] <= cost["most_seconds"] for cost in found["presets"])
    kept = [json.loads(path.read_text()) for path in (home / "home" / "speeds").glob("*.json")]
    assert [each["about"]["profile"] for each in kept] == ["engine"]
    assert len(kept[0]["speeds"]) >= 3


def test_an_image_that_is_another_ends_with_1_and_one_in_half_precision_may_differ_a_little(home: Path) -> None:
    profile = load_profile(home / "models" / "engine.yaml")
    import torch

    found = check_profile(profile, device=torch.device("cpu"), home=home / "other", prompt="ab", quick=True)
    assert found.refusal() is None
    for comparison, words in (
        (Comparison(2, 0.1, "float32"), "within 1 level of 255, got one that differs by up to 2 and 0.10 on average"),
        (
            Comparison(200, 9.0, "bfloat16"),
            "within 8 levels on average of 255, got one that differs by up to 200 and 9.00",
        ),
    ):
        refusal = _with(found, comparison).refusal()
        assert isinstance(refusal, RefusedError)
        assert words in str(refusal)
    assert _with(found, Comparison(60, 2.0, "bfloat16")).refusal() is None


def _with(found: Check, comparison: Comparison) -> Check:
    return replace(found, comparison=comparison)


def test_a_missing_judge_is_named(home: Path) -> None:
    write_profiles(home / "models", blind={"pipeline": "tiny", "encoder": "nowhere", "guard": "gate"})
    said = seedbank("blind")
    assert isinstance(said.exception, UsageError)
    assert "the encoder of the model profile 'blind': no folder 'nowhere'" in str(said.exception)
