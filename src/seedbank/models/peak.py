"""The most memory that a piece of work held."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from pathlib import Path
from types import TracebackType

import torch


class PeakMemory:
    """Measures between entering and leaving: the accelerator's allocations, or on a CPU the process's growth.

    ``mib`` is None where the system does not say (a CPU without Linux's ``/proc``).
    """

    def __init__(self, device: torch.device) -> None:
        self.mib: float | None = None
        self.before: float = 0.0
        """MiB that were held already, models among them; 0 where the system does not say."""
        self._cuda = device if device.type == "cuda" else None

    def __enter__(self) -> PeakMemory:
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self._cuda)
            self.before = torch.cuda.memory_allocated(self._cuda) / 2**20
        else:
            self.before = _reset_and_read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._cuda:
            self.mib = torch.cuda.max_memory_allocated(self._cuda) / 2**20
        elif self.before:
            self.mib = max(_status("VmHWM") - self.before, 0.0)


def _reset_and_read() -> float:
    """Start the process's high-water mark again at what it holds now; that in MiB, or 0 where it cannot be had.

    What earlier work freed goes back to the system first, or work that fits into it would seem to need nothing.
    """
    try:
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except (OSError, AttributeError):  # no such file; a C library without malloc_trim
        return 0.0


def _status(name: str) -> float:
    """A line of ``/proc/self/status`` in MiB."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
