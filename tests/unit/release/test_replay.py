"""Replay with a tiny random pipeline of the real diffusers classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seedbank.errors import VerificationError
from seedbank.models import LoadedModel, load_pipeline
from seedbank.records import canonical_json
from seedbank.release import Manifest, replay_release
from seedbank.release.publish import publish
from seedbank.release.records import MANIFEST
from seedbank.release.software import differences
from seedbank.selection.sampling.noise import stacked
from seedbank.selection.sampling.sampler import make_sampler
from seedbank.selection.seeds import Seed
from seedbank.storage import LocalStore
from support.trials import make_bank, make_trial

PROMPT = "a photo of a wingnut"


@pytest.fixture(scope="module")
def model(build_pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    build_pipeline().save_pretrained(folder)
    (folder / "seedbank.json").write_text(
        '{"num_inference_steps": 4, "guidance_scale": 2.0, "height": 16, "width": 16}'
    )
    return folder


@pytest.fixture
def release(model: Path, tmp_path: Path) -> Path:
    """A release of images that the tiny model drew."""
    loaded: LoadedModel = load_pipeline(str(model))
    sampler = make_sampler(loaded.pipeline, PROMPT, loaded.sampler)

    def draw(seed: Seed) -> np.ndarray:
        return sampler.draw(stacked([seed]))[0]

    made = make_trial(make_bank(tmp_path), draw=draw, shape=(4, 8, 8), model=loaded.card, sampler=loaded.sampler)
    folder = publish(made.bank, made.approve().digest).folder
    assert isinstance(made.bank.store, LocalStore)
    return made.bank.store.root / folder


def change(release: Path, **changes: Any) -> None:
    manifest = Manifest.from_bytes((release / MANIFEST).read_bytes())
    (release / MANIFEST).write_bytes(canonical_json({**manifest.model_dump(mode="json"), **changes}))


def test_the_same_seeds_and_model_draw_the_same_pixels(release: Path, model: Path) -> None:
    seen = []
    report = replay_release(release, model=str(model), progress=lambda done, whole: seen.append((done, whole)))
    assert report.equal
    assert [(item.file, item.difference) for item in report.images] == [
        ("images/wingnut-01.png", 0),
        ("images/wingnut-02.png", 0),
    ]
    assert report.differences == ()
    assert report.explain() == "2 images drawn again, every pixel the same"
    assert seen == [(1, 2), (2, 2)]


def test_a_picture_that_its_seed_did_not_draw_is_found(release: Path, model: Path) -> None:
    first, second = release / "images/wingnut-01.png", release / "images/wingnut-02.png"
    first.write_bytes(second.read_bytes())
    report = replay_release(release, model=str(model))
    assert [item.equal for item in report.images] == [False, True]
    assert report.images[0].difference > 0
    assert "these seeds did not draw these images" in report.explain()


def test_another_stack_is_named_as_the_likely_cause(release: Path, model: Path) -> None:
    manifest = Manifest.from_bytes((release / MANIFEST).read_bytes())
    change(release, software={**manifest.software, "torch": "1.0"})
    (release / "images/wingnut-01.png").write_bytes((release / "images/wingnut-02.png").read_bytes())
    report = replay_release(release, model=str(model))
    assert report.differences[0].startswith("torch: 1.0 then")
    assert "this is another stack (torch: 1.0 then" in report.explain()


def test_another_model_is_refused(release: Path, build_pipeline: Any, tmp_path: Path) -> None:
    build_pipeline("v_prediction").save_pretrained(tmp_path / "other")
    with pytest.raises(VerificationError, match="these seeds mean nothing to another model"):
        replay_release(release, model=str(tmp_path / "other"))


def test_a_model_that_was_a_local_folder_must_be_named(release: Path) -> None:
    with pytest.raises(VerificationError, match="say where it is with --model"):
        replay_release(release)


def test_missing_and_exchanged_files_are_refused(release: Path, model: Path, tmp_path: Path) -> None:
    (release / "seeds/wingnut-01.safetensors").write_bytes((release / "seeds/wingnut-02.safetensors").read_bytes())
    with pytest.raises(VerificationError, match="is not the seed of the manifest"):
        replay_release(release, model=str(model))
    (release / "seeds/wingnut-01.safetensors").unlink()
    with pytest.raises(VerificationError, match=r"expected seeds/wingnut-01.safetensors"):
        replay_release(release, model=str(model))
    (tmp_path / "empty").mkdir()
    with pytest.raises(VerificationError, match=r"expected manifest.json"):
        replay_release(tmp_path / "empty")


def test_stacks_are_compared_name_by_name() -> None:
    assert differences({"torch": "2", "numpy": "1"}, {"torch": "3", "numpy": "1"}) == ["torch: 2 then, 3 now"]
    assert differences({"torch": "2"}, {"jax": "1"}) == ["jax: none then, 1 now", "torch: 2 then, none now"]
