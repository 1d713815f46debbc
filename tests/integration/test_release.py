"""A release of images that the shipped model drew, checked and drawn again from the outside, as an auditor does."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from seedbank.release.publish import publish
from seedbank.selection.seeds import Seed
from support.trials import CONCEPT, make_bank, make_trial

pytestmark = pytest.mark.integration
PROMPT = "a photo of a wingnut"


@dataclass(frozen=True)
class Auditor:
    """Somebody with a folder, a key, and seedbank installed; no bank of their own."""

    release: Path
    key: Path
    home: Path

    def runs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SEEDBANK", "MLFLOW"))}
        return subprocess.run(
            [sys.executable, "-m", "seedbank", *arguments],
            env={**environment, "SEEDBANK_HOME": str(self.home), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    """With a release of two images of the shipped model."""

    from seedbank.models import load_pipeline
    from seedbank.selection.sampling.noise import stacked
    from seedbank.selection.sampling.sampler import make_sampler

    loaded, home = load_pipeline("parts"), tmp_path_factory.mktemp("home")
    sampler = make_sampler(loaded.pipeline, PROMPT, loaded.sampler)

    def draw(seed: Seed) -> np.ndarray:
        return sampler.draw(stacked([seed]))[0]

    network = loaded.pipeline.unet.config
    shape = (network.in_channels, network.sample_size, network.sample_size)
    made = make_trial(
        make_bank(home), starts=3, draw=draw, shape=shape, model=loaded.card, sampler=loaded.sampler, prompt=PROMPT
    )
    folder = publish(made.bank, made.approve().digest).folder
    return Auditor(
        home / "store" / folder, made.bank.settings.keys / "release.pub", tmp_path_factory.mktemp("elsewhere")
    )


def test_it_verifies_from_the_outside_until_one_byte_is_changed(auditor: Auditor) -> None:
    done = auditor.runs("verify", str(auditor.release), "--key", str(auditor.key))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"verified: 2 images of {CONCEPT}")
    picture = auditor.release / "images" / f"{CONCEPT}-02.png"
    content = picture.read_bytes()
    picture.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = auditor.runs("verify", str(auditor.release), "--key", str(auditor.key))
    picture.write_bytes(content)
    assert done.returncode == 1
    assert "images/wingnut-02.png was changed" in done.stderr


def test_the_shipped_model_draws_the_same_pixels_in_another_process(auditor: Auditor) -> None:
    done = auditor.runs("replay", str(auditor.release))
    assert done.returncode == 0, done.stderr
    assert "2 images drawn again, every pixel the same" in done.stdout
