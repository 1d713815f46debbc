"""The two servers of the demo: a real ``mlflow server`` and a real ``airflow standalone``, both on loopback only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from seedbank.demo.airflow_api import Readiness
from seedbank.demo.home import DemoHome
from seedbank.demo.progress import Progress
from seedbank.demo.service import Service, stop_all, wait_ready

READY_SECONDS = 480.0
"""How long the servers may take to start; under a minute on an idle machine of two cores, minutes on one that does six other things."""


@contextmanager
def running(home: DemoHome, progress: Progress) -> Iterator[Sequence[Service]]:
    """Both servers, ready inside the ``with`` block and stopped after it, however it is left.

    Raises:
        OutsideError: one of them died or did not get ready.
    """
    services = (mlflow_server(home), airflow_standalone(home))
    ready: set[str] = set()

    def observe(waiting: Sequence[Service]) -> None:
        for service in services:
            if service not in waiting and service.name not in ready:
                ready.add(service.name)
                progress.say(f"{service.name} is ready: {service.url}")
        progress.now(f"waiting for {' and '.join(service.name for service in waiting)}")

    try:
        progress.say("starting MLflow and Airflow (half a minute, more on a busy machine)")
        for service in services:
            service.start()
        wait_ready(services, seconds=READY_SECONDS, observe=observe)
        yield services
    finally:
        progress.say("stopping MLflow and Airflow")
        stop_all(services)
        progress.say("stopped; nothing is left running")


def mlflow_server(home: DemoHome) -> Service:
    """MLflow on SQLite with one worker and without its job runner: half a GB instead of two."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(home.mlflow_port)]
    command += ["--backend-store-uri", f"sqlite:///{home.root / 'mlflow.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(home.root / "mlartifacts")]
    url = home.mlflow_url
    return Service(
        "MLflow", command, home.environment(), home.logs / "mlflow.log", url, lambda: _answers(f"{url}/health")
    )


def airflow_standalone(home: DemoHome) -> Service:
    """Scheduler, DAG processor, triggerer and API server of Airflow, on SQLite."""
    url = home.airflow_url
    log = home.logs / "airflow.log"
    return Service("Airflow", ["airflow", "standalone"], home.environment(), log, url, Readiness(url))


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False
