"""The trial stage on the shipped models, which here draw in three steps: killed and resumed, asked twice, and out of reach."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbank.bank import Bank
from seedbank.concepts import Concept, Policy, SelectionPolicy
from seedbank.errors import Unreachable, UsageError
from seedbank.models import load_pipeline
from seedbank.models.parts.world import generator, render
from seedbank.records import sha256
from seedbank.references.records import Reference, ReferenceSet, Rights
from seedbank.selection.sampling.noise import stacked
from seedbank.selection.sampling.sampler import make_sampler
from seedbank.selection.search import recipes
from seedbank.selection.seeds import Seed
from seedbank.settings import Settings
from seedbank.storage.images import pixel_digest, png
from seedbank.trials.records import Trial
from seedbank.trials.run import run_trial
from support.profiles import write_profiles

pytestmark = pytest.mark.integration

SMALL = """
from dataclasses import replace
from seedbank.selection.search import recipes

plan = recipes.Explore(size=6, batch=3)
stop = recipes.Stop(stale=0, hacked=0, cornered=0, near_enough=False)
recipes.PRESETS["balanced"] = replace(recipes.BALANCED, explore=plan, iterations=8, stop=stop, gradient="calibrated")
"""
"""A smaller `balanced` that measures its gradient mode, for tests: registered the same way here and in a child process."""

CHILD = (
    SMALL
    + """
import os, signal, sys
from pathlib import Path
from seedbank.bank import Bank
from seedbank.concepts import Concept
from seedbank.references.records import ReferenceSet
from seedbank.trials.run import run_trial
from seedbank.settings import Settings

home, stage, at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def report(now, done, total):
    if (now, done) == (stage, at):
        os.kill(os.getpid(), signal.SIGKILL)

run_trial(
    Bank.open(Settings.from_env({"SEEDBANK_HOME": str(home), "SEEDBANK_MODELS": str(home / "models")})),
    Concept.from_bytes((home / "concept.json").read_bytes()),
    ReferenceSet.from_bytes((home / "set.json").read_bytes()),
    requested_by=("first",),
    progress=report,
)
"""
)


@pytest.fixture(autouse=True)
def _small_recipe() -> Iterator[None]:
    before = dict(recipes.PRESETS)
    exec(SMALL, {})
    yield
    recipes.PRESETS.update(before)


JUDGES = {"encoder": "parts", "guard": "parts", "orientation": "any"}
QUICK = {"pipeline": "parts", **JUDGES, "sampler": {"num_inference_steps": 3}}
"""The shipped model in three steps instead of ten: steps only take time here."""
CONCEPT = Concept(
    name="clover",
    prompt="a photo of a clover",
    owner="mia",
    model="quick",
    policy=Policy(selection=SelectionPolicy(candidates=2, plain=2)),
)
RIGHTS = Rights(
    licence="CC0-1.0", source="tests", cleared_by="sam", cleared_on=date(2026, 1, 1), purpose=("synthetic-release",)
)


def bank_with(home: Path, images: list[Image.Image]) -> tuple[Bank, ReferenceSet]:
    """A bank that holds `images` as the frozen reference set of the concept."""
    write_profiles(home / "models", quick=QUICK)
    bank = Bank.open(Settings.from_env({"SEEDBANK_HOME": str(home), "SEEDBANK_MODELS": str(home / "models")}))
    references = []
    for number, image in enumerate(images):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        photo = sha256(buffer.getvalue())
        bank.store.put(f"working/{photo}.png", buffer.getvalue())
        references.append(
            Reference(
                photo=photo,
                concept="clover",
                name=f"{number}.png",
                working=photo,
                width=image.width,
                height=image.height,
                format="PNG",
                rights=RIGHTS,
            )
        )
    chosen = ReferenceSet(
        concept="clover",
        concept_digest=CONCEPT.digest,
        references=tuple(references),
        assessments=(),
        measures={},
        validation="0" * 64,
    )
    (home / "concept.json").write_bytes(CONCEPT.to_bytes())
    (home / "set.json").write_bytes(chosen.to_bytes())
    return bank, chosen


def clovers() -> list[Image.Image]:
    return [render("clover", generator(99, "clover", index)) for index in range(5)]


def contents(bank: Bank) -> dict[str, bytes]:
    """Everything a trial stored, but for how long it took."""
    return {key: bank.store.get(key) for key in bank.store.keys("trials/") if not key.endswith("/timing.json")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bank, ReferenceSet, Trial]:
    bank, chosen = bank_with(tmp_path_factory.mktemp("finished"), clovers())
    before = dict(recipes.PRESETS)
    exec(SMALL, {})
    trial = run_trial(bank, CONCEPT, chosen, requested_by=("first",))
    recipes.PRESETS.update(before)
    return bank, chosen, trial


@pytest.mark.parametrize(("stage", "at"), [("explore", 6), ("calibrate", 1), ("optimise", 7), ("draw", 4)])
def test_killed_and_run_again_by_another_it_stores_the_same_bytes_and_both_stay_barred(
    tmp_path: Path, finished: tuple[Bank, ReferenceSet, Trial], stage: str, at: int
) -> None:
    bank, chosen = bank_with(tmp_path, clovers())
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), stage, str(at)], capture_output=True, text=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert not any(key.endswith("trial.json") for key in bank.store.keys("trials/"))
    assert any(key.endswith("checkpoint.safetensors") for key in bank.store.keys("trials/"))

    trial = run_trial(bank, CONCEPT, chosen, requested_by=("second",))

    assert trial == finished[2]
    assert contents(bank) == contents(finished[0])
    assert json.loads(bank.store.get(f"{trial.folder}/timing.json"))["resumed"]
    events = [entry.event for entry in bank.ledger.entries()]
    assert events == ["request.trial", "trial.started", "request.trial", "trial.finished"]
    assert bank.requesters("clover") >= {"first", "second"}


def test_what_a_trial_finds_does_not_depend_on_the_trials_before_it(
    tmp_path: Path, finished: tuple[Bank, ReferenceSet, Trial]
) -> None:
    bank, chosen = bank_with(tmp_path, clovers())
    run_trial(bank, CONCEPT.model_copy(update={"seed": "1"}), chosen, requested_by=("first",))
    trial = run_trial(bank, CONCEPT, chosen, requested_by=("first",))
    assert trial.calibration
    assert trial.to_bytes() == finished[2].to_bytes()
    assert {key.split("/")[0] for key in bank.store.keys("")} == {"ledger", "trials", "working"}


def test_asked_again_it_finds_what_it_found(finished: tuple[Bank, ReferenceSet, Trial]) -> None:
    bank, chosen, trial = finished
    before, stages = contents(bank), []
    assert bank.requesters("clover") >= {"first"}
    again = run_trial(bank, CONCEPT, chosen, requested_by=("second",), progress=lambda stage, *_: stages.append(stage))
    assert again == trial == bank.newest(Trial, "clover") == bank.load(Trial, trial.key, concept="clover")
    assert set(stages) == {"load"}
    assert contents(bank) == before
    assert bank.requesters("clover") >= {"first", "second"}  # there was nothing left to do, but they asked


def test_everything_the_record_names_is_stored_and_true(finished: tuple[Bank, ReferenceSet, Trial]) -> None:
    bank, _, trial = finished
    model = load_pipeline("parts")
    sampler = make_sampler(model.pipeline, trial.prompt, trial.sampler)
    assert trial.model == model.card
    for candidate in (*trial.plain, *trial.candidates):
        data = bank.store.get(f"{trial.folder}/images/{candidate.image}.png")
        seed = Seed.from_safetensors(bank.store.get(f"{trial.folder}/seeds/{candidate.seed}.safetensors"))
        pixels = sampler.draw(stacked([seed]))[0]
        assert (sha256(data), seed.digest) == (candidate.image, candidate.seed)
        assert png(pixels) == data
        assert pixel_digest(pixels) == candidate.pixels


def test_the_trajectory_of_each_start_is_kept(finished: tuple[Bank, ReferenceSet, Trial]) -> None:
    bank, _, trial = finished
    for candidate in trial.candidates:
        trajectory = json.loads(bank.store.get(f"{trial.folder}/trajectories/{candidate.start}.json"))
        assert [step["iteration"] for step in trajectory["steps"]] == list(range(9))
        assert trajectory["stopped_by"] == "all iterations spent"
        images = sorted(bank.store.keys(f"{trial.folder}/steps/{candidate.start}/"))
        assert [Path(key).stem for key in images] == ["0", "2", "4", "6", "8"]
        assert np.asarray(Image.open(io.BytesIO(bank.store.get(images[0])))).shape == (64, 64, 3)


def test_a_concept_no_seed_draws_is_refused_once_and_for_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stripes = np.where(np.arange(64) % 8 < 4, 230, 20)[None, :, None] + rng.integers(-9, 9, (5, 64, 64, 3))
    bank, chosen = bank_with(tmp_path, [Image.fromarray(stripe.astype(np.uint8)) for stripe in stripes])
    recipes.PRESETS["balanced"] = replace(recipes.PRESETS["balanced"], explore=recipes.Explore(size=64))
    for _ in range(2):
        with pytest.raises(Unreachable, match=r"no seed of this model draws 'clover': the best of 64 .*LoRA"):
            run_trial(bank, CONCEPT, chosen, requested_by=("first",))
    assert [entry.event for entry in bank.ledger.entries()] == ["request.trial", "trial.started", "trial.unreachable"]
    assert not any(key.endswith("trial.json") for key in bank.store.keys("trials/"))


def test_another_concepts_references_are_refused(finished: tuple[Bank, ReferenceSet, Trial]) -> None:
    bank, chosen, _ = finished
    with pytest.raises(
        UsageError, match="expected a reference set of 'clover', got one of 'hook'; validate clover first"
    ):
        run_trial(bank, CONCEPT, chosen.model_copy(update={"concept": "hook"}), requested_by=("first",))


def test_a_trial_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    bank, _ = bank_with(tmp_path, clovers())
    with pytest.raises(UsageError, match="no trial of 'clover' yet; run `seedbank optimise clover`"):
        bank.newest(Trial, "clover")
    with pytest.raises(UsageError, match=r"no trial 0+ of 'clover'"):
        bank.load(Trial, "0" * 64, concept="clover")
