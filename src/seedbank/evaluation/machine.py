"""What something was measured on, in words: without it, seconds mean nothing."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_NOISE = re.compile(r"\((?:R|TM)\)|\bCPU\b|\bProcessor\b|@.*", re.IGNORECASE)


def machine(device: torch.device | None = None) -> str:
    """The GPU's name, or how many cores of which processor; without a device, the latter."""
    if device is not None and device.type == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"{os.cpu_count()} cores of {processor()}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the system has it, without trade marks and clock; its architecture where there is no name."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    words = " ".join(_NOISE.sub(" ", names[0]).split()) if names else ""
    return f"{words} ({platform.machine()})" if words else platform.machine()
