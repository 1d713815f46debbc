"""``seedbank optimise``, ``scan`` and ``diagnose`` from the outside, up to where a model would be loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def seedbank(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (home / "concepts").mkdir(exist_ok=True)
    (home / "concepts" / "cog.yaml").write_text("{name: cog, prompt: a cog, owner: mia}")
    env = {
        **os.environ,
        "SEEDBANK_HOME": str(home / "home"),
        "SEEDBANK_CONCEPTS": str(home / "concepts"),
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "seedbank", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)


@pytest.mark.parametrize("command", ["optimise", "scan", "diagnose"])
def test_help_has_an_example(tmp_path: Path, command: str) -> None:
    done = seedbank(tmp_path, command, "--help")
    assert done.returncode == 0
    assert f"Example: seedbank {command} wingnut" in done.stdout


@pytest.mark.parametrize("command", ["optimise", "scan", "diagnose"])
def test_an_unknown_concept_is_used_wrongly(tmp_path: Path, command: str) -> None:
    done = seedbank(tmp_path, command, "dog")
    assert done.returncode == 2
    assert "no concept 'dog'" in done.stderr
    assert "known: cog" in done.stderr


def test_expand_has_an_example_and_says_what_it_expects(tmp_path: Path) -> None:
    assert "Example: seedbank expand" in seedbank(tmp_path, "expand", "--help").stdout
    done = seedbank(tmp_path, "expand", "abcdef12")
    assert done.returncode == 2
    assert "no candidate of a finished trial has the seed 'abcdef12'; `seedbank optimise` lists them" in done.stderr


def test_an_unknown_preset_is_used_wrongly(tmp_path: Path) -> None:
    done = seedbank(tmp_path, "optimise", "cog", "--preset", "best")
    assert done.returncode == 2
    assert "expected --preset fast or balanced or thorough or seedselect_v1, got 'best'" in done.stderr


@pytest.mark.parametrize("command", ["optimise", "diagnose"])
def test_without_a_reference_set_it_says_what_to_do(tmp_path: Path, command: str) -> None:
    done = seedbank(tmp_path, command, "cog")
    assert done.returncode in {1, 2}
    assert "seedbank validate cog" in done.stderr
    assert "Traceback" not in done.stderr
