"""Services on real processes: they are watched, and nothing of them is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from seedbank.demo.service import Service, choose_port, last_lines, stop_all, wait_ready
from seedbank.errors import OutsideError, UsageError

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
WITH_CHILD = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import signal, time; "
    "signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)']); print('up', flush=True); time.sleep(60)"
)


@pytest.fixture
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    log = tmp_path / "logs" / "service.log"
    made = Service(
        name="Sleeper",
        command=[sys.executable, "-c", request.param],
        env=dict(os.environ),
        log=log,
        url="",
        ready=lambda: "up" in last_lines(log),
    )
    yield made
    stop_all([made], patience=0)


def start(service: Service) -> list[psutil.Process]:
    service.start()
    wait_ready([service], seconds=30, observe=lambda _: None)
    return service.family()


@pytest.mark.parametrize("service", [SLEEPS], indirect=True)
def test_a_service_runs_in_its_own_session_and_stops_on_sigint(service: Service) -> None:
    family = start(service)
    assert os.getsid(family[0].pid) == family[0].pid != os.getsid(0)
    assert stop_all([service], patience=10) == 0
    assert not any(process.is_running() for process in family)


@pytest.mark.parametrize("service", [STUBBORN, WITH_CHILD], indirect=True)
def test_whoever_does_not_stop_by_itself_is_killed(service: Service) -> None:
    family = start(service)
    assert stop_all([service], patience=0.3) == 1
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)


@pytest.mark.parametrize("service", ["print('no licence'); raise SystemExit(4)"], indirect=True)
def test_a_service_that_dies_is_reported_with_the_end_of_its_log(service: Service) -> None:
    service.start()
    with pytest.raises(OutsideError, match=r"(?s)Sleeper stopped by itself \(exit code 4\).*no licence"):
        wait_ready([service], seconds=30, observe=lambda _: None)


@pytest.mark.parametrize("service", ["print('thinking', flush=True); import time; time.sleep(60)"], indirect=True)
def test_a_service_that_is_never_ready_is_reported(service: Service) -> None:
    service.start()
    with pytest.raises(OutsideError, match="expected Sleeper to be ready within 0 s"):
        wait_ready([service], seconds=0, observe=lambda _: None)


LOSES_A_PART = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'print(\"part gone\", flush=True)']); "
    "time.sleep(60)"
)


@pytest.mark.parametrize("service", [LOSES_A_PART], indirect=True)
def test_a_service_that_goes_on_without_one_of_its_parts_is_reported(service: Service) -> None:
    service.start()
    with pytest.raises(OutsideError, match=r"(?s)Sleeper lost one of its parts.*part gone"):
        wait_ready([service], seconds=30, observe=lambda _: None)


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals exist on Linux only")
def test_a_service_stops_when_the_demo_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, sys, time
from pathlib import Path
from seedbank.demo.service import Service
service = Service("s", [sys.executable, "-c", {SLEEPS!r}], dict(os.environ), Path({str(tmp_path)!r}, "log"), "", lambda: True)
service.start()
print(service.process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        child = psutil.Process(int(demo.stdout.readline()))
        while "up" not in last_lines(tmp_path / "log"):
            time.sleep(0.05)
        demo.send_signal(signal.SIGKILL)
        gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone


def test_a_free_port_is_taken_as_asked_and_zero_means_any() -> None:
    port = choose_port(0, what="Airflow", option="AIRFLOW_PORT")
    assert port > 0
    assert choose_port(port, what="Airflow", option="AIRFLOW_PORT") == port


def test_a_taken_port_is_refused_with_the_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} .* free for MLflow, but it is taken .*MLFLOW_PORT=0"):
            choose_port(port, what="MLflow", option="MLFLOW_PORT")


def test_last_lines_of_a_missing_log(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none") == "(no log)"
