"""Settings: read once from the environment, at the edge, and passed on from there."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Settings:
    """Where everything is.

    Attributes:
        home: folder of all local state (``SEEDBANK_HOME``, default ``./.seedbank``).
        store: URL of the object store (``SEEDBANK_STORE``, default ``<home>/store``).
        concepts: folder of concept files (``SEEDBANK_CONCEPTS``, default ``./concepts``).
        models: folder of model profiles (``SEEDBANK_MODELS``, default ``./models``).
        tracking_uri: MLflow server (``MLFLOW_TRACKING_URI``, default an SQLite file in ``home``).
        tracking_url: where a person opens MLflow in a browser (``SEEDBANK_MLFLOW_URL``, default ``tracking_uri`` if it is http).
        roster: YAML file of who may review (``SEEDBANK_ROSTER``, default ``<home>/roster.yaml``).
        keys: folder of the signing keys (``SEEDBANK_KEYS``, default ``<home>/keys``).
        actor: who acts, for the ledger (``SEEDBANK_ACTOR``, default ``cli:<user>``).
        device: where networks compute, as :func:`seedbank.models.device.choose_device` takes it (``SEEDBANK_DEVICE``, default ``auto``).
        share_gpu: whether searches on one card work at once instead of one after another (``SEEDBANK_SHARE_GPU``, default no).
    """

    home: Path
    store: str
    concepts: Path
    models: Path
    tracking_uri: str
    tracking_url: str
    roster: Path
    keys: Path
    actor: str
    device: str = "auto"
    share_gpu: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the environment (or ``env``); every value has a default that works on one machine."""
        env = os.environ if env is None else env
        home = Path(env.get("SEEDBANK_HOME", ".seedbank")).expanduser().absolute()
        tracking = env.get("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}")
        return cls(
            home=home,
            store=env.get("SEEDBANK_STORE", str(home / "store")),
            concepts=Path(env.get("SEEDBANK_CONCEPTS", "concepts")).expanduser().absolute(),
            models=Path(env.get("SEEDBANK_MODELS", "models")).expanduser().absolute(),
            tracking_uri=tracking,
            tracking_url=env.get("SEEDBANK_MLFLOW_URL", tracking if tracking.startswith("http") else ""),
            roster=Path(env.get("SEEDBANK_ROSTER", home / "roster.yaml")).expanduser().absolute(),
            keys=Path(env.get("SEEDBANK_KEYS", home / "keys")).expanduser().absolute(),
            actor=env.get("SEEDBANK_ACTOR") or f"cli:{_user()}",
            device=env.get("SEEDBANK_DEVICE") or "auto",
            share_gpu=env.get("SEEDBANK_SHARE_GPU", "") in {"1", "true", "yes"},
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        return str(os.getuid())


def share_cores() -> None:
    """Let waiting OpenMP threads sleep instead of spin. Call it at the edge, before anything imports torch; what is set already stays.

    A small U-Net has hundreds of barriers an image. Where servers share the cores, spinning threads wait for one that is not scheduled:
    measured on two busy cores, 3 s instead of 0.02 s for one evaluation of the shipped model's U-Net.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
