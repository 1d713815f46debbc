"""``seedbank expand`` on the shipped model, with a frequent kind, whose plain seeds are finds already."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from seedbank.cli import main
from seedbank.errors import RefusedError, UsageError, VerificationError
from seedbank.export.finds import find_seed
from seedbank.inspection.trace import trace
from seedbank.models import load_encoder, load_guard, load_pipeline
from seedbank.models.parts.world import generator, render
from seedbank.records import sha256
from seedbank.references.photos import reference_images
from seedbank.selection.sampling.noise import stacked
from seedbank.selection.sampling.sampler import make_sampler
from seedbank.selection.search.explore import explore
from seedbank.selection.search.recipes import SEEDSELECT_V1, Explore
from seedbank.selection.search.seed_search import SeedSearch
from seedbank.selection.seeds import Seed
from seedbank.storage.images import pixel_digest
from seedbank.trials.expand import expand_seeds, find_candidate
from seedbank.trials.records import Expansion
from support.pipelines import stable_diffusion
from support.profiles import write_profiles
from support.trials import CONCEPT, Made, make_bank, make_trial

if TYPE_CHECKING:
    from seedbank.models import Embedder

pytestmark = pytest.mark.integration

PROMPT = "a photo of a washer"
COUNT = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A trial whose record names the shipped model and guard, and whose photos show washers."""
    bank = make_bank(tmp_path_factory.mktemp("bank"))
    model = load_pipeline("parts")
    fields = {"model": model.card, "guard": load_guard().card, "encoder": load_encoder().card}
    fields |= {"sampler": model.sampler, "prompt": PROMPT}
    return with_pool(make_trial(bank, shape=(4, 16, 16), photo=_washer, **fields), model.pipeline, judges())


def judges(encoder: str = "parts", guard: str = "parts") -> dict[str, Embedder]:
    return {"encoder": load_encoder(encoder), "guard_encoder": load_guard(guard)}


def with_pool(made: Made, pipeline: Any, judging: dict[str, Embedder], *, size: int = 16) -> Made:
    """The trial with the plain seeds that its search explored."""
    trial = made.trial
    search = SeedSearch(
        sampler=make_sampler(pipeline, trial.prompt, trial.sampler),
        references=reference_images(made.bank, made.reference_set),
        recipe=replace(trial.recipe, explore=Explore(size=size, batch=size)),
        **judging,
    )
    made.bank.store.put(f"{trial.folder}/pool.safetensors", explore(search).pool.to_safetensors())
    return made


def _washer(number: int) -> np.ndarray:
    return np.asarray(render("washer", generator(5, "washer", number)))


@pytest.fixture(scope="module")
def expanded(made: Made) -> Expansion:
    return expand_seeds(made.bank, [made.trial.candidates[0].seed], COUNT)


def test_every_image_is_stored_true_and_comes_from_the_find(made: Made, expanded: Expansion) -> None:
    assert len(expanded.images) == COUNT
    sampler = make_sampler(load_pipeline("parts").pipeline, PROMPT, expanded.sampler)
    known = set(expanded.finds)
    for image in expanded.images:
        data = made.bank.store.get(f"{expanded.folder}/images/{image.image}.png")
        seed = Seed.from_safetensors(made.bank.store.get(f"{expanded.folder}/seeds/{image.seed}.safetensors"))
        pixels = sampler.draw(stacked([seed]))[0]
        assert (sha256(data), seed.digest, pixel_digest(pixels)) == (image.image, image.seed, image.pixels)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
        assert set(seed.lineage.parents) <= known
        assert image.scores.guard >= expanded.needed - 1e-6
        assert expanded.semantic_limit is not None
        assert image.scores.semantic <= expanded.semantic_limit + 1e-6
        known.add(seed.digest)


def test_its_seeds_can_be_exported(made: Made, expanded: Expansion) -> None:
    found = find_seed(made.bank, expanded.images[-1].seed[:12])
    assert (found.seed.digest, found.origin.split()[0]) == (expanded.images[-1].seed, "expansion")


def test_asked_again_it_finds_what_it_found(made: Made, expanded: Expansion) -> None:
    stages: list[str] = []
    prefix = expanded.finds[0][:10]
    again = expand_seeds(made.bank, [prefix], COUNT, progress=lambda stage, *_: stages.append(stage))
    assert again == expanded == made.bank.load(Expansion, expanded.key, concept=CONCEPT)
    assert stages == []
    entries = [entry for entry in made.bank.ledger.entries() if entry.event == "expansion.finished"]
    assert [(entry.data["key"], entry.data["images"]) for entry in entries] == [(expanded.key, COUNT)]


def test_an_expanded_image_is_traced_to_the_photos(made: Made, expanded: Expansion) -> None:
    """So that a withdrawn photo leads to it."""
    found = trace(made.bank, expanded.images[-1].image)
    kinds = [node.kind for node in found.came_from]
    assert kinds.count("photo") == len(made.reference_set.references)
    assert {"trial", "expansion"} <= set(kinds)
    photo = trace(made.bank, made.reference_set.references[0].photo)
    assert {image.image for image in expanded.images} <= {node.digest for node in photo.went_into}


def test_the_command_prints_it_and_says_no_when_there_are_too_few(made: Made, expanded: Expansion) -> None:
    done = _seedbank(made, "expand", expanded.finds[0][:12], "-n", str(COUNT), "--json")
    assert done.returncode == 0, done.stderr
    assert Expansion.model_validate_json(done.stdout) == expanded
    assert json.loads(done.stdout)["vendi"] >= 1
    for_people = _seedbank(made, "expand", expanded.finds[0][:12], "-n", str(COUNT))
    assert f"{CONCEPT}: {COUNT} images from seed {expanded.finds[0][:12]}" in for_people.stdout
    assert "plain samples an image" in for_people.stdout


def test_several_finds_are_expanded_together_in_whatever_order(made: Made) -> None:
    seeds = [candidate.seed for candidate in made.trial.candidates[:2]]
    both = expand_seeds(made.bank, seeds, 5)
    assert both == expand_seeds(made.bank, [seeds[1], seeds[0], seeds[1]], 5)
    assert both.finds == tuple(sorted(seeds))
    parents = {
        parent
        for image in both.images
        for parent in Seed.from_safetensors(
            made.bank.store.get(f"{both.folder}/seeds/{image.seed}.safetensors")
        ).lineage.parents
    }
    assert set(seeds) <= parents
    assert set(seeds) <= {node.digest for node in trace(made.bank, both.key).came_from}
    done = _seedbank(made, "expand", seeds[1][:12], seeds[0][:12], "-n", "5")
    assert f"{CONCEPT}: 5 images from 2 seeds" in done.stdout, done.stderr


def test_seeds_that_cannot_be_expanded_are_refused(made: Made) -> None:
    rejected = made.trial.candidates[-1]
    with pytest.raises(RefusedError, match=f"the candidate of seed {rejected.seed[:12]} was not accepted"):
        find_candidate(made.bank, rejected.seed)
    with pytest.raises(UsageError, match="no candidate of a finished trial has the seed 'abcdef0'"):
        find_candidate(made.bank, "abcdef0")
    with pytest.raises(UsageError, match="at least 6 digits of a seed's digest, got 'ab'"):
        find_candidate(made.bank, "ab")
    with pytest.raises(UsageError, match="at least one seed to expand, got none"):
        expand_seeds(made.bank, [], 2)
    with pytest.raises(UsageError, match=r"no expansion 0+ of 'wingnut'"):
        made.bank.load(Expansion, "0" * 64, concept=CONCEPT)


def test_another_model_than_the_trials_is_refused(tmp_path: Path) -> None:
    model = load_pipeline("parts")
    other = make_trial(make_bank(tmp_path), shape=(4, 16, 16), guard=load_guard().card, sampler=model.sampler)
    with pytest.raises(
        VerificationError, match=r"expected the model parts .* Name the right one with --model, or search again"
    ):
        expand_seeds(other.bank, [other.trial.candidates[0].seed], 2)


def test_another_encoder_than_the_trials_is_refused(tmp_path: Path) -> None:
    model = load_pipeline("parts")
    fields = {"model": model.card, "guard": load_guard().card, "sampler": model.sampler}
    other = make_trial(make_bank(tmp_path), shape=(4, 16, 16), **fields)
    with pytest.raises(
        VerificationError, match=r"expected the encoder .* Name the right one with --encoder, or search again"
    ):
        expand_seeds(other.bank, [other.trial.candidates[0].seed], 2)


def test_seeds_of_two_trials_are_not_expanded_together(tmp_path: Path) -> None:
    bank = make_bank(tmp_path)
    one, other = (make_trial(bank, number=number).trial for number in range(2))
    with pytest.raises(UsageError, match=f"seeds of one trial, got seeds of {one.key[:12]}, {other.key[:12]}"):
        expand_seeds(bank, [one.candidates[0].seed, other.candidates[0].seed], 2)


SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random model and tiny random judges, each in a folder of its own."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, ResNetConfig, ResNetModel

    root = tmp_path_factory.mktemp("models")
    stable_diffusion().save_pretrained(root / "model")
    torch.manual_seed(1)
    config = CLIPVisionConfig(image_size=16, patch_size=4, projection_dim=8, **SIZES)
    CLIPVisionModelWithProjection(config).save_pretrained(root / "encoder")
    residual = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(residual).save_pretrained(root / "guard")
    settings = {"size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    for judge in ("encoder", "guard"):
        (root / judge / "preprocessor_config.json").write_text(json.dumps(settings))
    return {name: root / name for name in ("model", "encoder", "guard")}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Made:
    """A trial of the tiny model, whose guard takes everything: no threshold, and too small a pool for a contrast."""
    model, judging = load_pipeline(str(folders["model"])), judges(str(folders["encoder"]), str(folders["guard"]))
    fields = {"model": model.card, "guard": judging["guard_encoder"].card, "encoder": judging["encoder"].card}
    fields |= {"recipe": replace(SEEDSELECT_V1, guard_slack=1e3), "profile": "gone"}
    made = make_trial(
        make_bank(tmp_path_factory.mktemp("local")),
        shape=(4, 8, 8),
        prompt="ab",
        sampler=model.sampler,
        **fields,
    )
    return with_pool(made, model.pipeline, judging, size=4)


def test_models_in_local_folders_are_asked_for_one_by_one(local: Made, folders: dict[str, Path]) -> None:
    command = ["expand", local.trial.candidates[0].seed[:12], "-n", "1", "--json"]
    for option, name in (("--model", "model"), ("--encoder", "encoder"), ("--guard", "guard")):
        refused = _seedbank(local, *command)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"the {name} '{name}' was a local folder; say where it is with {option}" in refused.stderr
        command += [option, str(folders[name])]
    done = _seedbank(local, *command)
    assert done.returncode == 0, done.stderr
    made = Expansion.model_validate_json(done.stdout)
    assert (len(made.images), made.model.source) == (1, "folder")
    sampler = make_sampler(load_pipeline(str(folders["model"])).pipeline, "ab", made.sampler)
    for image in made.images:
        seed = Seed.from_safetensors(local.bank.store.get(f"{made.folder}/seeds/{image.seed}.safetensors"))
        assert pixel_digest(sampler.draw(stacked([seed]))[0]) == image.pixels


def test_a_model_profile_says_where_its_local_folders_are(
    local: Made, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"pipeline": "model", "encoder": "encoder", "guard": "guard"}
    write_profiles(tmp_path / "models", gone={field: str(folders[name]) for field, name in places.items()})
    monkeypatch.setenv("SEEDBANK_MODELS", str(tmp_path / "models"))
    done = _seedbank(local, "expand", local.trial.candidates[0].seed[:12], "-n", "1", "--json")
    assert done.returncode == 0, done.stderr


def test_a_folder_with_another_model_is_refused(local: Made, folders: dict[str, Path], tmp_path: Path) -> None:
    stable_diffusion(guidance_input=8).save_pretrained(tmp_path)
    done = _seedbank(local, "expand", local.trial.candidates[0].seed[:12], "-n", "3", "--model", str(tmp_path))
    assert done.returncode == 1
    assert "expected the model model with files" in done.stderr
    assert "Name the right one with --model" in done.stderr


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def _seedbank(made: Made, *arguments: str) -> Done:
    """The command in this process, where torch is loaded already."""
    settings, out, err = made.bank.settings, io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("SEEDBANK_HOME", str(settings.home))
        patch.setenv("SEEDBANK_CONCEPTS", str(settings.concepts))
        patch.setenv("COLUMNS", "160")
        patch.setattr(sys, "argv", ["seedbank", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
