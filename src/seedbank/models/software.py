"""What an image's last bits depend on besides seed and model: libraries, processor and threads. The base install imports this."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LIBRARIES = ("seedbank", "torch", "diffusers", "transformers", "numpy", "pillow", "safetensors")


def drawing_software(device: torch.device | None = None) -> dict[str, str]:
    """What this process draws with: versions, the machine, and how PyTorch adds up.

    Sums are rounded after each addition, and their order follows the number of threads and the processor's instructions. Call it where
    images are drawn, because both are the process's own.
    """
    import torch

    from seedbank.models.device import describe_device

    return {
        **{name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": describe_device(device or torch.device("cpu")),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }


def differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """What differs between two records of :func:`drawing_software`, in plain words."""
    names = sorted(then.keys() | now.keys())
    return [
        f"{name}: {then.get(name, 'none')} then, {now.get(name, 'none')} now"
        for name in names
        if then.get(name) != now.get(name)
    ]
