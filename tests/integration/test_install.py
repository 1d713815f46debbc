"""The package as others install it: the base and the method, each in an environment of its own, from a wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from seedbank.release.publish import publish
from support.trials import CONCEPT, make_bank, make_trial

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src")
SELECT = """
import numpy as np
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from seedbank.models.card import ModelCard
from seedbank.models.judges import Embedder, Network, Preprocess
from seedbank.selection import FAST, select
from support import pipelines

sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, patch_size=4, projection_dim=8)
network = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=16, **sizes)).eval().requires_grad_(False)
card = ModelCard(name="tiny", source="test", content="0" * 64)
judge = Embedder((Network(network, "image_embeds", Preprocess(16, (0.5,) * 3, (0.5,) * 3), card),))
photos = [Image.fromarray(np.random.default_rng(n).integers(0, 255, (24, 24, 3), np.uint8)) for n in range(4)]
found = select(pipelines.stable_diffusion(), "ab", photos, encoder=judge, guard_encoder=judge, recipe=FAST, starts=2, plain=2)
print(len(found.plain), found.plain[0].pixels.shape)
"""


def run(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run in ``cwd``, where nothing of this checkout can be imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SEEDBANK", "MLFLOW"))}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**kept, **env}, capture_output=True, text=True, check=False
    )


def uv(*words: str | Path, cwd: Path) -> None:
    """Run uv; set-up puts it beside the interpreter wherever an index can be reached."""
    if not UV.is_file():
        pytest.skip("set-up could not have uv from an index")
    done = run(UV, *words, cwd=cwd)
    if done.returncode and any(
        word in done.stderr for word in ("dns error", "error sending request", "Connection refused")
    ):
        pytest.skip(f"no package index can be reached: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def where() -> list[str]:
    """Wheel folders and the index, as scripts/set_up.py passes them on."""
    links = [part for link in os.environ.get("PIP_FIND_LINKS", "").split() for part in ("--find-links", link)]
    index = os.environ.get("PIP_INDEX_URL")
    return [*links, *(["--default-index", index] if index else [])]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the checkout: building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder / name)
    uv("build", "--wheel", "--build-constraints", ROOT / "constraints.txt", *where(), folder, cwd=folder)
    (made,) = (folder / "dist").glob("*.whl")
    return made


def install(wheel: Path, folder: Path, extra: str = "") -> Path:
    """The folder of programs of a fresh environment with the wheel in it."""
    uv("venv", "--python", sys.executable, folder, cwd=wheel.parent)
    uv(
        *("pip", "install", "--python", folder / "bin" / "python", "--constraints", ROOT / "constraints.txt", *where()),
        f"{wheel}{extra}",
        cwd=wheel.parent,
    )
    return folder / "bin"


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(wheel, tmp_path_factory.mktemp("base") / "venv")


def test_the_wheel_holds_everything_that_is_no_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if not name.endswith(".py") and ".dist-info/" not in name}
    wanted = {
        path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "seedbank").rglob("*") if path.is_file()
    }
    assert names == {name for name in wanted if not name.endswith((".py", ".pyc"))}
    assert {"seedbank/py.typed", "seedbank/references/judging/expectations/photos.yaml"} <= names


def test_the_base_verifies_traces_and_reads(base: Path, tmp_path: Path) -> None:
    made = make_trial(make_bank(tmp_path))
    release = publish(made.bank, made.approve().digest)
    shutil.copytree(tmp_path / "store" / release.folder, tmp_path / "received")
    home = {"SEEDBANK_HOME": str(tmp_path), "SEEDBANK_CONCEPTS": str(made.bank.settings.concepts)}
    key = made.bank.settings.keys / "release.pub"
    assert run(base / "seedbank", "--version", cwd=tmp_path).stdout.strip() == "0.1.0"
    verified = run(base / "seedbank", "verify", "./received", "--key", key, cwd=tmp_path)
    assert verified.stdout.startswith("verified: 2 images of wingnut"), verified.stderr
    photo = made.reference_set.references[0].photo
    traced = run(base / "seedbank", "trace", photo, "--json", cwd=tmp_path, **home)
    assert release.folder in {node["label"] for node in json.loads(traced.stdout)["went_into"]}
    status = run(base / "seedbank", "status", "--json", cwd=tmp_path, **home)
    assert [item["stage"] for item in json.loads(status.stdout)["concepts"]] == ["released"]
    reviewed = run(base / "seedbank", "review", CONCEPT, "--json", cwd=tmp_path, **home)
    assert json.loads(reviewed.stdout)["digest"] == release.manifest.dossier
    assert run(base / "seedbank", "release", CONCEPT, cwd=tmp_path, **home).returncode == 0
    (tmp_path / "received" / "README.md").write_text("all fine")
    assert run(base / "seedbank", "verify", "./received", "--key", key, cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["intake", "."], "references"),
        (["validate", CONCEPT], "references"),
        (["optimise", CONCEPT], "selection"),
        (["scan", CONCEPT], "selection"),
        (["diagnose", CONCEPT], "selection"),
        (["expand", "3f9a1c04be77"], "selection"),
        (["replay", "."], "selection"),
        (["log", CONCEPT], "mlflow"),
        (["bench", "selection"], "bench"),
    ],
)
def test_the_base_says_in_one_line_what_more_is_needed(
    base: Path, tmp_path: Path, words: list[str], extra: str
) -> None:
    done = run(base / "seedbank", *words, cwd=tmp_path, SEEDBANK_HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"seedbank: this needs seedbank[{extra}]; ")
    assert line.endswith(f"pip install 'seedbank[{extra}]'")
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_s3_says_what_it_needs(base: Path, tmp_path: Path) -> None:
    done = run(base / "seedbank", "status", cwd=tmp_path, SEEDBANK_STORE="s3://bank")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("seedbank: this needs seedbank[s3]; ")


def test_the_method_runs_without_the_rest_of_the_product(wheel: Path, tmp_path: Path) -> None:
    programs = install(wheel, tmp_path / "venv", "[selection]")
    absent = (
        "import importlib.util as u; print([n for n in ('airflow', 'mlflow', 'pandas', 'minio') if u.find_spec(n)])"
    )
    assert run(programs / "python", "-c", absent, cwd=tmp_path).stdout.strip() == "[]"
    shutil.copytree(ROOT / "tests" / "support", tmp_path / "support", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "find.py").write_text(SELECT)
    done = run(programs / "python", "find.py", cwd=tmp_path, OMP_NUM_THREADS="1")
    assert done.stdout.strip() == "2 (16, 16, 3)", done.stderr
