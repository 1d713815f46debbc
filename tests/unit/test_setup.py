"""Set-up from a clean clone: what is pinned, who installs, which Python is chosen."""

from __future__ import annotations

import ast
import importlib.util
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from seedbank.extras import EXTRAS, ON_SELECTION, require

ROOT = Path(__file__).resolve().parents[2]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())


@pytest.fixture
def set_up() -> ModuleType:
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "scripts" / "set_up.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def find_python(*arguments: str, path: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts" / "find-python", *arguments]
    return subprocess.run(command, cwd=cwd, env={"PATH": path}, capture_output=True, text=True, check=False)


def test_constraints_are_plain_pins_without_machine_or_index() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line


def test_everything_declared_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *(text for texts in extras.values() for text in texts)]:
        requirement = Requirement(text)
        if requirement.name == "seedbank":
            assert requirement.extras <= extras.keys(), text
            continue
        assert requirement.specifier.contains(Version(PINS[canonicalize_name(requirement.name)])), text


def test_a_set_up_environment_has_every_extra(set_up: ModuleType) -> None:
    assert set_up.uv_command()[-1] == set_up.pip_command()[-1] == ".[all,dev]"


def test_extras_that_bring_the_method_with_them_are_checked_for_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name for name in EXTRAS if "seedbank[selection]" in extras[name]} == set(ON_SELECTION)
    for extra in EXTRAS:
        require(extra)  # the environment of the tests has all of them


def test_every_extra_says_what_it_needs_and_brings_it() -> None:
    """What is imported belongs to the base or to one extra, and that extra installs it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    brought = {name: _names(texts) for name, texts in project["optional-dependencies"].items()}
    base, extras = _names(project["dependencies"]), {package: name for name, many in EXTRAS.items() for package in many}
    tree = [ast.parse(path.read_text()) for path in (ROOT / "src").rglob("*.py")]
    for package in _imported(tree) - set(sys.stdlib_module_names) - {"seedbank"}:
        if package in extras:
            assert _DISTRIBUTIONS.get(package, canonicalize_name(package)) in brought[extras[package]], package
        else:
            assert _DISTRIBUTIONS.get(package, canonicalize_name(package)) in base, package


_DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "airflow": "apache-airflow",
    "cryptography": "securesystemslib",
    "fastapi": "apache-airflow",
    "gpytorch": "botorch",
    "httpx2": "transformers",
    "huggingface_hub": "transformers",
    "sqlalchemy": "mlflow",
    "tokenizers": "transformers",
    "urllib3": "minio",
}
"""What installs a package, where its name does not say so."""


def _names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def _imported(trees: list[ast.Module]) -> set[str]:
    """First names of everything that is imported anywhere, also inside functions."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_wheels_beside_the_index_are_passed_on_to_uv(set_up: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    command = " ".join(set_up.uv_command())
    assert "--find-links /wheels --find-links /more" in command
    assert "--default-index https://index.example/simple" in command
    assert "--constraints constraints.txt" in command


def test_without_them_nothing_is_passed_on(set_up: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    command = " ".join(set_up.uv_command())
    assert "--find-links" not in command
    assert "index" not in command


def test_too_small_a_disk_is_said_at_once(set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_up, "NEEDED_GIB", 10**9)
    monkeypatch.setattr(set_up, "STAMP", tmp_path / "none")
    with pytest.raises(set_up.SetUpError, match="expected 1000000000 GiB of free disk"):
        set_up.check_disk()


def test_the_stamp_depends_on_every_input(set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set_up.INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a")
    monkeypatch.setattr(set_up, "ROOT", tmp_path)
    seen = {set_up.input_digest()}
    for name in set_up.INPUTS:
        (tmp_path / name).write_text("b")
        seen.add(set_up.input_digest())
    assert len(seen) == 1 + len(set_up.INPUTS)


def test_the_first_python_that_runs_is_chosen(tmp_path: Path) -> None:
    script(tmp_path, "python3.11", "exit 127")
    works = script(tmp_path, "python3.12", f'exec "{sys.executable}" "$@"')
    done = find_python(path=f"{tmp_path}:/usr/bin:/bin", cwd=tmp_path)
    assert done.stdout.strip() == str(works)


def test_an_environment_keeps_its_python_unless_another_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    script(tmp_path / ".venv" / "bin", "python", f'exec "{sys.executable}" "$@"')
    other = script(tmp_path, "python3.11", f'exec "{sys.executable}" "$@"')
    done = find_python(path=f"{tmp_path}:/usr/bin:/bin", cwd=tmp_path)
    assert done.stdout.strip() == getattr(sys, "_base_executable", sys.executable)
    assert find_python(str(other), path="/usr/bin:/bin", cwd=tmp_path).stdout.strip() == str(other)


def test_an_unusable_python_is_named(tmp_path: Path) -> None:
    old = script(tmp_path, "old", "echo Python 3.8.1; exit 1")
    done = find_python(str(old), path="/usr/bin:/bin", cwd=tmp_path)
    assert done.returncode == 2
    assert "expected PYTHON to be a Python 3.11, 3.12 or 3.13" in done.stderr
    assert "Python 3.8.1" in done.stderr


def test_no_python_at_all_says_what_to_install(tmp_path: Path) -> None:
    done = find_python(path=str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert "apt install python3" in done.stderr


def test_ci_runs_what_a_person_runs() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines() == ["#!/bin/sh", "exec make test"]


def test_help_lists_every_target() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    for target in targets:
        assert f"make {target}" in done.stdout


def test_lint_checks_style_types_and_layers() -> None:
    done = subprocess.run(["make", "--dry-run", "lint"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"\.venv/bin/(ruff check|ruff format|mypy|lint-imports)", done.stdout) == [
        "ruff check",
        "ruff format",
        "mypy",
        "lint-imports",
    ]
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
