"""What is wrong with a model of the user's own is said in one clear line, before anything is drawn, and nothing is lost."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from seedbank.models import load_pipeline
from seedbank.models.loading import load_model
from seedbank.references.records import ReferenceSet
from seedbank.trials.records import Trial
from support import judges, pipelines
from support.home import CONCEPT, PROFILE, Done, Home, make_home

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

COMMIT = "a" * 40


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a reference set."""
    home = make_home(tmp_path_factory.mktemp("home"), pipelines.stable_diffusion())
    assert home.run("intake", str(home.root / "photos")).code == 0
    assert home.run("validate", CONCEPT).code == 0
    return home


@pytest.fixture
def home(validated: Home) -> Iterator[Home]:
    """The same, its profile as it was."""
    yield validated
    validated.write_profile()


def refused(home: Home, *arguments: str, code: int = 2) -> str:
    """The one line in which a command said no; the reference set is there, and no search ended."""
    bank = home.bank
    before = [*bank.ledger.entries(event="trial.finished")]
    done = home.run(*(arguments or ("optimise", CONCEPT)))
    assert (done.code, done.out) == (code, "")
    assert bank.newest(ReferenceSet, CONCEPT).references
    assert [*bank.ledger.entries(event="trial.finished")] == before
    return one_line(done)


def one_line(done: Done) -> str:
    (line,) = done.said
    assert line.startswith("seedbank: ")
    return line


def no_search_began(home: Home) -> bool:
    return not [key for key in home.bank.store.keys("trials/") if key.endswith("checkpoint.safetensors")]


def test_a_judge_whose_folder_is_gone(home: Home) -> None:
    home.write_profile(guard=str(home.root / "gone"))
    line = refused(home)
    assert f"the guard of the model profile 'tiny': no folder '{home.root / 'gone'}': it was moved or removed" in line
    line = refused(home, "validate", CONCEPT)
    assert "cannot compare photos without the guard of the model profile 'tiny': no folder" in line
    assert line.endswith("`seedbank models fetch tiny` fetches it; nothing was judged")


def test_a_judge_on_a_hub_that_nobody_can_reach(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    home.write_profile(guard=f"maker/judge@{COMMIT}")
    line = refused(home, code=3)
    assert "the guard of the model profile 'tiny': cannot fetch maker/judge: " in line
    assert "set HF_HOME to the folder that you carry here" in line


@pytest.mark.parametrize("part", ["pipeline", "encoder", "guard"])
def test_a_branch_that_can_move_is_to_be_pinned(home: Home, part: str) -> None:
    home.write_profile(**{part: "maker/model@main"})
    assert refused(home).endswith(
        f"the {part} of the model profile 'tiny' is 'maker/model@main': no folder is there, and as a repository it can move; "
        "`seedbank models pin tiny` writes down the commit where it is now"
    )


def own_clip(folder: Path) -> str:
    """A whole CLIP whose text half is the one that the tiny pipelines read prompts with."""
    from transformers import CLIPConfig, CLIPModel

    text = pipelines.clip()
    made = CLIPModel(CLIPConfig(text_config=text.config.to_dict(), vision_config=judges.VISION, projection_dim=8))
    made.text_model.load_state_dict(text.state_dict())
    # Rounded once, as most copies of it are.
    return str(judges.saved(made.half(), folder))


def test_a_guard_that_is_the_pipelines_own_clip(home: Home, tmp_path: Path) -> None:
    guard = own_clip(tmp_path / "own")
    home.write_profile(guard=guard)
    line = refused(home)
    assert (
        f"the guard '{guard}' of the model profile 'tiny' and the pipeline's own text_encoder are halves of one" in line
    )
    assert line.endswith("so name a guard of another family")


def blind(folder: Path) -> str:
    """A judge of weights that are no numbers."""
    from transformers import Dinov2Config, Dinov2Model

    made = Dinov2Model(Dinov2Config(**judges.VISION, mlp_ratio=1))
    made.layernorm.weight.data.fill_(torch.nan)
    return str(judges.saved(made, folder))


@pytest.mark.parametrize("part", ["encoder", "guard"])
def test_a_judge_that_gives_no_numbers_is_found_out_before_the_search(home: Home, tmp_path: Path, part: str) -> None:
    home.write_profile(**{part: blind(tmp_path / "blind")})
    said = rf"expected numbers from the {part} blind (files "
    assert said in refused(home)
    assert no_search_began(home)
    if part == "guard":
        assert said in refused(home, "validate", CONCEPT)


def test_a_judge_without_some_of_its_weights(home: Home, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = judges.dinov2(tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    home.write_profile(guard=str(folder))
    assert "expected all weights of Dinov2Model in" in refused(home)


def test_a_judge_that_reads_and_does_not_see(home: Home) -> None:
    home.write_profile(guard=str(home.root / "models" / "engine" / "text_encoder"))
    assert "expected a vision model in" in refused(home)


@pytest.mark.parametrize(
    ("build", "size", "message"),
    [
        (pipelines.stable_diffusion, {"height": 17}, "expected a size in multiples of 2, got 17x16; 16x16 would do"),
        (pipelines.flux, {"height": 16, "width": 22}, "expected a size in multiples of 4, got 16x22; 16x24 would do"),
        (
            pipelines.sd3,
            {"height": 36},
            "expected sides of at most 32 pixels, got 36x16; that is all that the model has",
        ),
    ],
    ids=["u-net", "patches", "positions"],
)
def test_a_size_that_the_model_cannot_draw(
    home: Home, tmp_path: Path, build: Callable[[], Any], size: dict[str, int], message: str
) -> None:
    build().save_pretrained(tmp_path / "engine")
    home.write_profile(pipeline=str(tmp_path / "engine"), sampler=size)
    assert f"the model profile 'tiny' names a size that its model cannot draw: {message}" in refused(home)


def test_a_size_far_from_what_the_model_was_made_for_is_noted(home: Home) -> None:
    home.write_profile(sampler={"height": 32, "width": 32})
    (note,) = load_model(home.bank.profile(PROFILE)).notes
    assert note.startswith(
        "images are drawn at 32x32, and the model was made for 16x16: so far from it, things are drawn twice"
    )
    home.write_profile(sampler={"height": 16, "width": 32})
    assert not load_model(home.bank.profile(PROFILE)).notes


@contextmanager
def failing(home: Home, error: Exception, *, after: int) -> Iterator[None]:
    """The denoising network fails as PyTorch does where a card is gone or full, once it was asked ``after`` times."""
    network, asked = load_pipeline(home.bank.profile(PROFILE).pipeline).pipeline.unet, count()

    def fail(_network: object, _inputs: object) -> None:
        if next(asked) >= after:
            raise error

    hook = network.register_forward_pre_hook(fail)
    try:
        yield
    finally:
        hook.remove()


def test_memory_that_does_not_suffice_for_one_image(home: Home) -> None:
    with failing(home, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), after=0):
        line = refused(home, code=3)
    assert "out of memory for the sampling of a single image; choose a smaller image, a cheaper gradient mode" in line


def test_a_card_that_goes_away_during_a_search_which_then_goes_on(home: Home) -> None:
    gone = RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported")
    with failing(home, gone, after=30):
        line = refused(home, code=3)
    assert "the GPU failed or is gone: CUDA error: unspecified launch failure; look at nvidia-smi" in line
    assert line.endswith(f"then ask again: the trial of {CONCEPT} goes on from its last checkpoint")
    assert not no_search_began(home)
    again = home.run("optimise", CONCEPT, "--json")
    trial = home.bank.newest(Trial, CONCEPT)
    assert again.json["key"] == trial.key
    assert b'"resumed": true' in home.bank.store.get(f"{trial.folder}/timing.json")
    assert no_search_began(home)
