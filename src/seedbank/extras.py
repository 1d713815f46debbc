"""Extras: which part of seedbank needs which packages, and what to say where one is not installed.

The base install verifies, traces and reads. Everything else is an extra of ``pyproject.toml``.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, get_args

from seedbank.errors import UsageError

Extra = Literal["selection", "references", "airflow", "mlflow", "s3", "bench"]
EXTRAS: dict[Extra, tuple[str, ...]] = {
    "selection": (
        "accelerate",
        "diffusers",
        "httpx2",
        "huggingface_hub",
        "scipy",
        "tokenizers",
        "torch",
        "transformers",
    ),
    "references": ("great_expectations", "jinja2", "pandas", "pi_heif", "skimage"),
    "airflow": ("airflow", "fastapi", "httpx", "psutil"),
    "mlflow": ("mlflow", "sqlalchemy"),
    "s3": ("minio", "urllib3"),
    "bench": ("botorch", "cma", "gpytorch", "matplotlib", "peft"),
}
"""Packages, as they are imported, by the extra that installs them."""
ON_SELECTION: tuple[Extra, ...] = ("references", "bench")
"""Extras that bring ``selection`` with them."""


def require(extra: Extra) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Raises:
        UsageError: one is not; the message says how to install it.
    """
    needed = (*EXTRAS["selection"], *EXTRAS[extra]) if extra in ON_SELECTION else EXTRAS[extra]
    for package in needed:
        if find_spec(package) is None:
            raise _missing(extra, package)


def missing_extra(error: ModuleNotFoundError) -> UsageError | None:
    """What to say about a package that is not installed; None where it belongs to no extra, which is a fault of ours."""
    package = (error.name or "").partition(".")[0]
    return next((_missing(extra, package) for extra in get_args(Extra) if package in EXTRAS[extra]), None)


def _missing(extra: Extra, package: str) -> UsageError:
    return UsageError(
        f"this needs seedbank[{extra}]; {package} is not installed here, so run: pip install 'seedbank[{extra}]'"
    )
