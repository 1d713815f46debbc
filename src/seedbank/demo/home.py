"""The demo's folder: everything MLflow and Airflow need lies below it, and the environment that tells them so."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

import seedbank
from seedbank.errors import UsageError
from seedbank.settings import Settings, share_cores

ROLES = {"admin": "admin", "mia": "op", "alice": "user", "bob": "user"}
"""Who can sign in to Airflow, and the role each has there. ``user`` is the lowest role that may answer a review."""
REQUESTER = "mia"
REVIEWERS = {"alice": "Alice Example", "bob": "Bob Example"}

DEMO_STATE = ("store", "intake", "airflow", "mlflow.db", "mlartifacts", "logs", "roster.yaml")
"""What a demo leaves in its home, apart from the keys."""

_AIRFLOW_SHIM = """#!/bin/sh
# `airflow standalone` starts its parts through this. Task logs are read from disk here, so the two log servers,
# which would listen on every network interface, stay off.
case "$1" in scheduler | triggerer) set -- "$@" --skip-serve-logs ;; esac
exec "{airflow}" "$@"
"""


@dataclass(frozen=True)
class DemoHome:
    """Where one demo lives.

    Attributes:
        root: the folder of all state (``SEEDBANK_HOME``).
        project: the checkout, with ``dags/``, ``plugins/``, ``concepts/`` and ``examples/``.
        airflow_port: port of Airflow on 127.0.0.1.
        mlflow_port: port of MLflow on 127.0.0.1.
    """

    root: Path
    project: Path
    airflow_port: int
    mlflow_port: int

    @property
    def airflow_url(self) -> str:
        """Where a person opens Airflow."""
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        """Where a person opens MLflow."""
        return f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def intake(self) -> Path:
        """The folder photos are dropped into; one sub-folder a concept."""
        return self.root / "intake"

    @property
    def logs(self) -> Path:
        """Where the servers write what they have to say."""
        return self.root / "logs"

    @property
    def passwords_file(self) -> Path:
        """Airflow's passwords, by user."""
        return self.root / "airflow" / "passwords.json"

    def settings(self) -> Settings:
        """seedbank's own settings inside the demo."""
        return Settings.from_env(self.environment())

    def environment(self) -> dict[str, str]:
        """The environment of both servers and of every command the demo runs.

        Airflow and MLflow settings of the person's own shell are left out: they mean another installation.
        """
        share_cores()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MLFLOW"))}
        return inherited | self._seedbank_variables() | self._mlflow_variables() | self._airflow_variables()

    def prepare(self, concepts: tuple[str, ...], *, scripted: bool) -> None:
        """Write what has to be there before the servers start. Passwords of an earlier start are kept."""
        self._write_passwords()
        self._write_shim()
        self.write_roster(scripted=scripted)
        for name in concepts:
            shutil.copytree(self.project / "examples" / "photos" / name, self.intake / name, dirs_exist_ok=True)

    def write_roster(self, *, scripted: bool) -> None:
        """Write who may review; ``scripted`` marks answers that a program gives in their name."""
        people = {user: {"name": name, "scripted": scripted} for user, name in REVIEWERS.items()}
        self.settings().roster.write_text(yaml.safe_dump({"reviewers": people}), encoding="utf-8")

    def passwords(self) -> dict[str, str]:
        """Airflow's users and their passwords."""
        return dict(json.loads(self.passwords_file.read_text(encoding="utf-8")))

    def _write_passwords(self) -> None:
        self.passwords_file.parent.mkdir(parents=True, exist_ok=True)
        if not self.passwords_file.is_file():
            self.passwords_file.touch(mode=0o600)
            made = {user: f"{user}-{secrets.token_hex(3)}" for user in ROLES}
            self.passwords_file.write_text(json.dumps(made), encoding="utf-8")

    def _write_shim(self) -> None:
        shim = self._shims / "airflow"
        shim.parent.mkdir(parents=True, exist_ok=True)
        shim.write_text(_AIRFLOW_SHIM.format(airflow=_bin() / "airflow"), encoding="utf-8")
        shim.chmod(0o755)

    @property
    def _shims(self) -> Path:
        return self.root / "airflow" / "bin"

    def _seedbank_variables(self) -> dict[str, str]:
        return {
            "SEEDBANK_HOME": str(self.root),
            "SEEDBANK_CONCEPTS": str(self.project / "concepts"),
            "SEEDBANK_MODELS": str(self.project / "models"),
            "SEEDBANK_MLFLOW_URL": self.mlflow_url,
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "PATH": os.pathsep.join([str(self._shims), str(_bin()), os.environ.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "HF_HUB_OFFLINE": "1",
        }

    def _mlflow_variables(self) -> dict[str, str]:
        return {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        }

    def _airflow_variables(self) -> dict[str, str]:
        home = self.root / "airflow"
        values = {
            "CORE__DAGS_FOLDER": self.project / "dags",
            "CORE__PLUGINS_FOLDER": self.project / "plugins",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__EXECUTOR": "seedbank.orchestration.executor.WarmLocalExecutor",
            "CORE__PARALLELISM": 4,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in ROLES.items()),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.passwords_file,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.airflow_url}/execution/",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "API__HOST": "127.0.0.1",
            "API__PORT": self.airflow_port,
            "API__BASE_URL": self.airflow_url,
            "API__WORKERS": 1,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 10,
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.2,  # five tasks follow each other, and each waits for the next look
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 1,  # whether its loop goes round is asked while people wait
            "WORKERS__EXECUTION_API_TIMEOUT": 60,  # a busy machine's API server may take a while over a task's first call
            "LOGGING__BASE_LOG_FOLDER": home / "logs",
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        return {"AIRFLOW_HOME": str(home)} | {f"AIRFLOW__{name}": str(value) for name, value in values.items()}


def find_project() -> Path:
    """The checkout this package was installed from.

    Raises:
        UsageError: the package lies elsewhere, so that there are no DAGs and no example photos to run.
    """
    project = Path(seedbank.__file__).resolve().parents[2]
    if not (project / "dags").is_dir():
        raise UsageError(
            f"the demo needs a checkout with its dags/ folder, {project} is none; clone it and 'make demo'"
        )
    return project


def choose_concepts(project: Path, asked: str, *, default: str) -> tuple[str, ...]:
    """The concepts to run: those ``asked`` for (separated by spaces or commas), or the ``default`` one.

    Raises:
        UsageError: one has no example photos or no concept file; the message lists those that have.
    """
    names = tuple(dict.fromkeys(asked.replace(",", " ").split())) or (default,)
    photos = {path.name for path in (project / "examples" / "photos").glob("*/")}
    known = sorted(photos & {path.stem for path in (project / "concepts").glob("*.yaml")})
    for name in names:
        if name not in known:
            raise UsageError(f"no example concept {name!r}; known: {', '.join(known) or 'none'}")
    return names


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the home for one demo at a time.

    Raises:
        UsageError: another demo runs in it; the message names its process.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / "demo.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UsageError(
                f"a demo is running in {root} (process {holder}); stop it with Ctrl-C in its terminal, or 'kill {holder}'"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def forget(root: Path) -> None:
    """Delete what earlier demos left in ``root``: photos, store, servers' databases. The signing keys stay."""
    for name in DEMO_STATE:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_state(root: Path) -> None:
    """Delete the folder of all state, unless a demo runs in it."""
    if root.is_dir():
        with locked(root):
            shutil.rmtree(root)


def _bin() -> Path:
    """The folder of this environment's commands."""
    return Path(sys.prefix) / "bin"
