"""Replay with a tiny random pipeline of the real diffusers classes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seedbank.errors import UsageError, VerificationError
from seedbank.models import LoadedModel, load_pipeline
from seedbank.models.software import differences, drawing_software
from seedbank.records import canonical_json
from seedbank.release import Manifest, replay_release
from seedbank.release.publish import publish
from seedbank.release.records import MANIFEST
from seedbank.selection.sampling.noise import stacked
from seedbank.selection.sampling.sampler import make_sampler
from seedbank.selection.seeds import Seed
from seedbank.storage import LocalStore
from seedbank.storage.images import pixel_digest
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

    made = make_trial(
        make_bank(tmp_path),
        draw=draw,
        shape=(4, 8, 8),
        model=loaded.card,
        sampler=loaded.sampler,
        software=drawing_software(),
    )
    folder = publish(made.bank, made.approve().digest).folder
    assert isinstance(made.bank.store, LocalStore)
    return made.bank.store.root / folder


def change(release: Path, **changes: Any) -> None:
    manifest = Manifest.from_bytes((release / MANIFEST).read_bytes())
    (release / MANIFEST).write_bytes(canonical_json({**manifest.model_dump(mode="json"), **changes}))


def nudge(file: Path, levels: int) -> None:
    """Another value in one place of the picture."""
    pixels = np.asarray(Image.open(file)).copy()
    pixels[3, 5, 1] += levels if pixels[3, 5, 1] < 128 else -levels
    Image.fromarray(pixels).save(file)


def approve_as_it_is(release: Path) -> None:
    """A manifest that names the pixels of the first file."""
    manifest = Manifest.from_bytes((release / MANIFEST).read_bytes()).model_dump(mode="json")
    pixels = np.asarray(Image.open(release / manifest["images"][0]["file"]))
    manifest["images"][0]["candidate"]["pixels"] = pixel_digest(pixels)
    (release / MANIFEST).write_bytes(canonical_json(manifest))


def exchange_seeds(release: Path) -> None:
    """A manifest and files that give each image the other one's seed."""
    manifest = Manifest.from_bytes((release / MANIFEST).read_bytes()).model_dump(mode="json")
    first, second = manifest["images"]
    first["seed_file"], second["seed_file"] = second["seed_file"], first["seed_file"]
    one, other = first["candidate"], second["candidate"]
    one["seed"], other["seed"] = other["seed"], one["seed"]
    (release / MANIFEST).write_bytes(canonical_json(manifest))


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
    assert seen == [(2, 2)]


def test_images_that_their_seeds_did_not_draw_are_found(release: Path, model: Path) -> None:
    exchange_seeds(release)
    report = replay_release(release, model=str(model))
    assert [item.equal for item in report.images] == [False, False]
    assert report.images[0].difference > 1
    assert report.explain().endswith(
        "with the same versions, processor and threads: these seeds did not draw these images"
    )


def test_a_file_that_is_not_what_was_approved_is_found(release: Path, model: Path) -> None:
    file = release / "images/wingnut-01.png"
    nudge(file, 1)
    report = replay_release(release, model=str(model))
    assert [(item.equal, item.difference) for item in report.images] == [(False, 1), (True, 0)]
    assert "does not have the pixels that were approved: run `seedbank verify`" in report.explain()


def test_one_level_is_equal_and_the_cause_is_named(release: Path, model: Path) -> None:
    manifest = Manifest.from_bytes((release / MANIFEST).read_bytes())
    nudge(release / "images/wingnut-01.png", 1)
    approve_as_it_is(release)
    change(release, software={**manifest.software, "threads": "64"})
    report = replay_release(release, model=str(model))
    assert (report.equal, report.exact) == (True, 1)
    assert "2 images drawn again and equal: 1 to the last bit, 1 within one level of 255" in report.explain()
    assert f"(threads: 64 then, {drawing_software()['threads']} now)" in report.explain()


def test_two_levels_are_not_equal_and_another_stack_is_named_as_the_likely_cause(release: Path, model: Path) -> None:
    manifest = Manifest.from_bytes((release / MANIFEST).read_bytes())
    nudge(release / "images/wingnut-01.png", 2)
    approve_as_it_is(release)
    change(release, software={**manifest.software, "torch": "1.0"})
    report = replay_release(release, model=str(model))
    assert (report.equal, report.exact) == (False, 1)
    assert report.differences[0].startswith("torch: 1.0 then")
    words = report.explain()
    assert words.startswith(
        "1 of 2 images are not equal, the worst differs by 2 of 255; this is another stack (torch: 1.0 then"
    )


def test_a_release_is_equal_whatever_the_number_of_threads(release: Path, model: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from seedbank.release import replay_release\n"
        "for threads in (1, 2):\n"
        "    torch.set_num_threads(threads)\n"
        "    report = replay_release(Path(sys.argv[1]), model=sys.argv[2]); print(report.equal, report.differences)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(release), str(model)], capture_output=True, text=True, check=True
    ).stdout
    here = drawing_software()["threads"]
    assert said.splitlines() == [
        f"True {(f'threads: {here} then, {threads} now',) if here != threads else ()}" for threads in ("1", "2")
    ]


def test_another_model_is_refused(release: Path, build_pipeline: Any, tmp_path: Path) -> None:
    build_pipeline("v_prediction").save_pretrained(tmp_path / "other")
    with pytest.raises(VerificationError, match=r"mean nothing to another one\. Name the right one with --model"):
        replay_release(release, model=str(tmp_path / "other"))


def test_a_model_that_was_a_local_folder_must_be_named(release: Path) -> None:
    with pytest.raises(UsageError, match="was a local folder; say where it is with --model"):
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
