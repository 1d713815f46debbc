"""The demo's folder: what is written there, who may use it, what is kept."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seedbank.demo.home import DemoHome, choose_concepts, find_project, forget, locked, remove_state
from seedbank.errors import UsageError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with photos and concept files of two kinds, and one kind with photos only."""
    root = tmp_path / "checkout"
    for kind in ("wingnut", "impeller", "washer"):
        (root / "examples" / "photos" / kind).mkdir(parents=True)
        (root / "examples" / "photos" / kind / "1.jpg").write_bytes(kind.encode())
    (root / "concepts").mkdir()
    for kind in ("wingnut", "impeller"):
        (root / "concepts" / f"{kind}.yaml").touch()
    return root


@pytest.fixture
def home(tmp_path: Path, project: Path) -> DemoHome:
    return DemoHome(tmp_path / "home", project, airflow_port=18080, mlflow_port=15000)


def test_prepare_writes_passwords_only_the_owner_can_read_and_keeps_them(home: DemoHome) -> None:
    home.prepare((), scripted=False)
    first = home.passwords()
    home.prepare((), scripted=False)
    assert set(first) == {"admin", "mia", "alice", "bob"}
    assert home.passwords() == first
    assert stat.S_IMODE(home.passwords_file.stat().st_mode) == 0o600


def test_passwords_differ_between_homes(home: DemoHome, tmp_path: Path, project: Path) -> None:
    other = DemoHome(tmp_path / "other", project, 1, 2)
    home.prepare((), scripted=False)
    other.prepare((), scripted=False)
    assert json.loads(other.passwords_file.read_text()) != home.passwords()


@pytest.mark.parametrize("scripted", [True, False])
def test_the_roster_says_whether_a_script_answers(home: DemoHome, scripted: bool) -> None:
    home.prepare((), scripted=scripted)
    roster = yaml.safe_load(home.settings().roster.read_text())
    assert {user: entry["scripted"] for user, entry in roster["reviewers"].items()} == {
        "alice": scripted,
        "bob": scripted,
    }


def test_prepare_puts_only_the_chosen_photos_into_the_intake(home: DemoHome) -> None:
    home.prepare(("wingnut",), scripted=False)
    assert [path.relative_to(home.intake).as_posix() for path in home.intake.rglob("*.jpg")] == ["wingnut/1.jpg"]


def test_the_servers_are_told_loopback_and_nothing_of_the_shell(
    home: DemoHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "of another installation")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of another installation")
    env = home.environment()
    assert "of another installation" not in env.values()
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["AIRFLOW__API__PORT"] == "18080"
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18080/execution/"
    assert env["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:15000"


def test_airflow_is_started_without_log_servers(home: DemoHome) -> None:
    home.prepare((), scripted=False)
    shim = Path(home.environment()["PATH"].split(os.pathsep)[0], "airflow")
    shim.write_text(shim.read_text().replace(str(Path(sys.prefix, "bin", "airflow")), "echo"))
    said = {
        part: subprocess.check_output([shim, part], text=True).strip()
        for part in ("scheduler", "triggerer", "api-server")
    }
    assert said == {
        "scheduler": "scheduler --skip-serve-logs",
        "triggerer": "triggerer --skip-serve-logs",
        "api-server": "api-server",
    }


def test_concepts_are_chosen_by_name_in_the_order_asked(project: Path) -> None:
    assert choose_concepts(project, "wingnut, impeller wingnut", default="impeller") == ("wingnut", "impeller")
    assert choose_concepts(project, " ", default="impeller") == ("impeller",)


def test_a_concept_without_a_file_is_refused_with_those_that_have_one(project: Path) -> None:
    with pytest.raises(UsageError, match="no example concept 'washer'; known: impeller, wingnut"):
        choose_concepts(project, "washer", default="impeller")


def test_this_checkout_is_found() -> None:
    assert (find_project() / "pyproject.toml").is_file()


def test_a_home_is_held_by_one_demo_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(UsageError, match=f"a demo is running in .* \\(process {os.getpid()}\\)"), locked(tmp_path):
            pass
        with pytest.raises(UsageError, match="a demo is running"):
            remove_state(tmp_path)
    assert tmp_path.is_dir()
    remove_state(tmp_path)
    assert not tmp_path.exists()
    remove_state(tmp_path)


def test_forget_keeps_the_keys(home: DemoHome) -> None:
    home.prepare(("wingnut",), scripted=False)
    (home.root / "keys").mkdir()
    (home.root / "store" / "ledger").mkdir(parents=True)
    (home.root / "mlflow.db").touch()
    forget(home.root)
    assert [path.name for path in home.root.iterdir()] == ["keys"]
