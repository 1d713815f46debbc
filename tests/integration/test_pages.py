"""What the pages show runs as it stands there: the Python, block after block, on the shipped model; the commands on a tiny one."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from PIL.Image import Resampling

from seedbank.bank import Bank
from seedbank.cli.app import app
from seedbank.models.weights import SAMPLING
from seedbank.settings import Settings
from seedbank.trials.records import Trial
from support import judges, pipelines
from support.pages import ROOT, blocks
from support.photos import jpeg, put

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_the_ml_engineers_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "ml-engineer.md"
    photos = sorted((ROOT / "examples" / "photos" / "hook").glob("photo-*.*[gp]"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"paths": photos}
    for code in blocks(page.read_text(encoding="utf-8"), "python"):
        exec(compile(code, str(page), "exec"), names)
    assert list(tmp_path.glob("*.png")), "the page says that it saves what it found"


def test_the_ten_minutes_with_a_model_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "your-model.md").read_text(encoding="utf-8")
    for name in [name for name in os.environ if name.startswith("SEEDBANK_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    _lay_out(concept=blocks(text, "yaml")[0])

    for line in "".join(blocks(text, "sh")).splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "seedbank"
        _run([_accepted_seed() if word == "SEED" else word for word in words])

    assert list(tmp_path.glob("*-diffusers/draw.py")), "the page says that a script comes out"


def _lay_out(*, concept: str) -> None:
    """What the page takes as there: a pipeline and two judges as folders, the concept file, photos with their rights."""
    import torch

    pipeline = pipelines.stable_diffusion()
    pipeline.save_pretrained("weights/pipeline")
    Path("weights/pipeline", SAMPLING).write_text('{"num_inference_steps": 4}', encoding="utf-8")
    judges.siglip(Path("weights/siglip"))
    judges.dinov2(Path("weights/dinov2"))
    Path("concepts").mkdir()
    Path("concepts/wingnut.yaml").write_text(concept, encoding="utf-8")
    # Photos of what these random weights can draw: what they cannot would rightly be refused.
    drawn = pipeline(["a photo of a wingnut"] * 6, num_inference_steps=4, generator=torch.manual_seed(4)).images
    for number, image in enumerate(drawn):
        put(Path("photos/wingnut"), f"{number}.jpg", jpeg(image.resize((256, 256), Resampling.NEAREST), 95))


def _run(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(words, prog_name="seedbank")
    assert ended.value.code == 0, words


def _accepted_seed() -> str:
    trial = Bank.open(Settings.from_env()).newest(Trial, "wingnut")
    return next(candidate.seed for candidate in trial.candidates if candidate.accepted)
