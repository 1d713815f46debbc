"""Model profiles for tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

SHIPPED = Path(__file__).parents[2] / "models"
"""The profiles of the repository."""


def write_profiles(folder: Path, **profiles: dict[str, object]) -> Path:
    """The shipped model's profile, and these, each by its name; ``folder`` is made."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SHIPPED / "parts.yaml", folder)
    for name, values in profiles.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **values}), encoding="utf-8")
    return folder
