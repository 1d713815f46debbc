"""What an image's last bits depend on besides seed and model: library versions and the kind of processor."""

from __future__ import annotations

import platform
from importlib.metadata import version

LIBRARIES = ("seedbank", "torch", "diffusers", "transformers", "numpy", "pillow", "safetensors")


def software() -> dict[str, str]:
    """Versions of the libraries that draw, of Python, and the machine's architecture."""
    versions = {name: version(name) for name in LIBRARIES}
    return {**versions, "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}


def differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """What differs between two stacks, in plain words."""
    names = sorted(then.keys() | now.keys())
    return [
        f"{name}: {then.get(name, 'none')} then, {now.get(name, 'none')} now"
        for name in names
        if then.get(name) != now.get(name)
    ]
