"""Extras: which part of seedbank needs which packages, and what to say where one is not installed.

The base install verifies, traces and reads. Everything else is an extra of ``pyproject.toml``.
"""

from __future__ import annotations

from seedbank.errors import UsageError

EXTRAS = {
    "selection": ("accelerate", "diffusers", "huggingface_hub", "scipy", "tokenizers", "torch", "transformers"),
    "references": ("great_expectations", "jinja2", "pandas", "pi_heif", "skimage"),
    "airflow": ("airflow", "fastapi", "httpx", "psutil"),
    "mlflow": ("mlflow", "requests"),
    "s3": ("minio", "urllib3"),
    "bench": ("botorch", "cma", "gpytorch", "matplotlib", "peft"),
}
"""Packages, as they are imported, by the extra that installs them."""


def missing_extra(error: ModuleNotFoundError) -> UsageError | None:
    """What to say about a package that is not installed; None where it belongs to no extra, which is a fault of ours."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return UsageError(
                f"this needs seedbank[{extra}]; {package} is not installed here, so run: pip install 'seedbank[{extra}]'"
            )
    return None
