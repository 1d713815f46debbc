"""``make demo`` from the outside: the command a person types, in a home and on ports of its own."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from seedbank.evidence.ledger import Ledger
from seedbank.storage import LocalStore

ROOT = Path(__file__).resolve().parents[2]
PROJECT_WIDE = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
pytestmark = pytest.mark.e2e


def environment(home: Path) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in PROJECT_WIDE} | {
        "SEEDBANK_HOME": str(home)
    }


def make_demo(home: Path, *settings: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            ["make", "--no-print-directory", "demo", *settings],
            cwd=ROOT,
            env=environment(home),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def seedbank(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seedbank", *arguments]
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False)


def still_running(home: Path) -> list[str]:
    """Command lines of all processes that work in ``home``, this one apart."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("SEEDBANK_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE
            if mine and process.pid != os.getpid():
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    deadline = (
        time.monotonic() + 20
    )  # make answers a signal before the last process it started has left the process table
    while still_running(home) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert still_running(home) == []


@pytest.mark.timeout(600)
def test_scripted_demo_ends_in_a_release_that_verifies(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    demo = make_demo(home, "REVIEWERS=scripted", "AIRFLOW_PORT=0", "MLFLOW_PORT=0", log=log)
    try:
        code = demo.wait(timeout=540)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGINT)
            demo.wait(timeout=60)
    assert code == 0, log.read_text()
    assert "nothing is left running" in log.read_text()

    store = LocalStore.from_url(str(home / "store"))
    ledger = Ledger(store)
    assert ledger.verify() > 0
    (release,) = ledger.entries(event="release.published")
    assert seedbank(home, "status").returncode == 0

    # Everything bad among the example photos was caught, each with a reason.
    refused = list(ledger.entries(event="intake.quarantined"))
    assert refused
    assert all(entry.data["reason"] for entry in refused)

    # A script answered, as two people, and the ledger says so.
    decisions = [entry.data for entry in ledger.entries(concept=release.concept, event="decision.recorded")]
    assert [decision["scripted"] for decision in decisions] == [True, True]
    assert len({decision["reviewer"] for decision in decisions}) == 2

    # MLflow holds the trial and its starts, on its own database.
    with sqlite3.connect(home / "mlflow.db") as database:
        assert database.execute("select count(*) from runs where status = 'FINISHED'").fetchone()[0] >= 2

    # The release verifies with the public key alone, and no longer when one byte is different.
    folder, key = str(home / "store" / release.data["folder"]), str(home / "keys" / "release.pub")
    assert seedbank(home, "verify", folder, "--key", key).returncode == 0
    image = next(Path(folder).rglob("*.png"))
    data = image.read_bytes()
    image.chmod(0o644)
    image.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert seedbank(home, "verify", folder, "--key", key).returncode == 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_the_demo_started(home: Path, tmp_path: Path, ending: signal.Signals) -> None:
    log = tmp_path / "demo.log"
    demo = make_demo(home, "AIRFLOW_PORT=0", "MLFLOW_PORT=0", log=log)
    deadline = time.monotonic() + 120
    while len(still_running(home)) < 6 and demo.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert demo.poll() is None, log.read_text()
    os.killpg(demo.pid, ending)
    assert demo.wait(timeout=60) != 0
    assert "demo: stopped" in log.read_text()


def test_a_taken_port_is_said_before_anything_starts(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        demo = make_demo(home, f"MLFLOW_PORT={port}", "AIRFLOW_PORT=0", log=log)
        assert demo.wait(timeout=60) != 0
    assert f"expected port {port} of 127.0.0.1 to be free for MLflow" in log.read_text()


def test_an_unknown_concept_is_refused_with_the_known_ones(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    demo = make_demo(home, "CONCEPTS=unobtainium", log=log)
    assert demo.wait(timeout=60) != 0
    assert "no example concept 'unobtainium'; known: " in log.read_text()
