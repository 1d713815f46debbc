"""Where networks compute and in which arithmetic, by rule; and whose turn it is on a card that several searches want.

The rule: CUDA where there is a card, else Apple's MPS, else the CPU. ``SEEDBANK_DEVICE`` overrides it.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self, get_args

import torch
import torch.nn.functional as F

from seedbank.errors import OutsideError, UsageError
from seedbank.selection.sampling.batches import is_out_of_memory
from seedbank.settings import Settings

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""Of the denoising network; noise, schedulers and judges are float32 whatever it is."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Accelerators:
    """What this machine has beside its CPU: names of the CUDA cards in their order, and whether there is Apple's MPS."""

    cards: tuple[str, ...] = ()
    mps: bool = False

    @classmethod
    def here(cls) -> Self:
        """As PyTorch sees it. A card that the installed PyTorch cannot use is not there."""
        cards = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
        return cls(tuple(torch.cuda.get_device_name(card) for card in cards), torch.backends.mps.is_available())

    @property
    def devices(self) -> tuple[str, ...]:
        """What may be asked for, the best first."""
        return (*(f"cuda:{card}" for card in range(len(self.cards))), *(["mps"] if self.mps else []), "cpu")

    def __str__(self) -> str:
        """For people: each device, cards by name."""
        names = {f"cuda:{number}": f"cuda:{number} ({card})" for number, card in enumerate(self.cards)}
        return ", ".join(names.get(device, device) for device in self.devices)


def choose_device(wanted: str = "auto", *, there: Accelerators | None = None) -> torch.device:
    """Where to compute: ``auto`` by rule, ``cpu``, ``mps``, ``cuda`` (the first card) or ``cuda:1``.

    Raises:
        UsageError: no such device here; says what is.
    """
    there = there or Accelerators.here()
    name = there.devices[0] if wanted == "auto" else "cuda:0" if wanted == "cuda" else wanted
    if name not in there.devices:
        raise UsageError(
            f"expected a device that is here ({there}), got {wanted!r}; set SEEDBANK_DEVICE to one of these or to auto. "
            "A card that is missing from the list has no driver, or PyTorch was installed without CUDA"
        )
    return torch.device(name)


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The network's data type on ``device``. ``auto``: bfloat16 on a card that has it, else float16 on a card or MPS, float32 on the CPU.

    Raises:
        UsageError: no such precision, or ``device`` lacks an operation in it.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"expected a precision among {', '.join(get_args(Precision))}, got {precision!r}")
    if precision == "auto":
        return _usual_dtype(device)
    dtype: torch.dtype = getattr(torch, precision)
    fault = _missing(dtype, device)
    if fault:
        raise UsageError(
            f"expected a precision that {device} computes in, got {precision}: {fault}; choose auto or float32"
        )
    return dtype


def drawing_precision(precision: Precision, settings: Settings) -> str:
    """What ``precision`` means on the device that ``settings`` choose, by name; raises as both choices do."""
    return str(choose_dtype(precision, choose_device(settings.device))).removeprefix("torch.")


def _usual_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        # emulated bfloat16 (cards before Ampere) is slower than float32
        with torch.cuda.device(device):
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


@lru_cache(maxsize=8)
def _missing(dtype: torch.dtype, device: torch.device) -> str:
    """What a search needs that ``device`` cannot do in ``dtype``; empty if nothing. Tried, since no table of PyTorch says so."""
    try:
        image = torch.ones(1, 8, 4, 4, dtype=dtype, device=device, requires_grad=True)
        features = F.silu(F.group_norm(F.conv2d(image, image.detach().expand(8, 8, 4, 4), padding=1), 2))
        tokens = F.layer_norm(features.flatten(2).transpose(1, 2), (8,))[:, None]
        seen = F.scaled_dot_product_attention(tokens, tokens, tokens) @ tokens.transpose(-1, -2)
        torch.autograd.grad(seen.float().sum(), image)
    except (
        RuntimeError,
        TypeError,
        AssertionError,
    ) as error:  # a device that PyTorch was not built for is an AssertionError
        return str(error).splitlines()[0]
    return ""


def describe_device(device: torch.device) -> str:
    """For records and people: a card's name, ``mps`` or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def hold(
    device: torch.device, home: Path, *, share: bool = False, say: Callable[[str], None] = log.warning
) -> Iterator[None]:
    """A turn on ``device`` among all processes of the same ``home``: whoever comes later waits, and says once that it does.

    With ``share`` it works at the same time as others that share, and only waits for one that does not. On the CPU it does nothing. The
    system ends the turn of a process that dies.
    """
    if device.type == "cpu":
        yield
        return
    with turn(home / "locks" / f"{_identity(device)}.lock", share=share, say=say):
        yield


@contextmanager
def at_work(settings: Settings, what: str) -> Iterator[torch.device]:
    """The device that ``settings`` choose, held while it is worked on; ``what`` as in :func:`failures_named`.

    Load models inside: what they fill of a card is part of the turn.
    """
    device = choose_device(settings.device)
    with failures_named(what), hold(device, settings.home, share=settings.share_gpu):
        log.info("computing on %s", describe_device(device))
        yield device


@contextmanager
def turn(path: Path, *, share: bool = False, say: Callable[[str], None] = log.warning) -> Iterator[None]:
    """Hold the lock ``path``, alone or with others that ``share`` it; ``say`` is called once if it has to be waited for."""
    kind = fcntl.LOCK_SH if share else fcntl.LOCK_EX
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            say(
                "another search is working on this device; waiting for its turn to end (SEEDBANK_SHARE_GPU=1 for both lets "
                "them work at once, in smaller batches)"
            )
            fcntl.flock(file, kind)
        yield


def _identity(device: torch.device) -> str:
    """Of the card itself: CUDA_VISIBLE_DEVICES numbers them differently for each process."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else device.type


LOST = (
    "CUDA error",
    "device lost",
    "device-side assert",
    "no CUDA-capable device",
    "CUDA driver error",
    "NVML_SUCCESS",
    "HIP error",
    "MPS backend error",
)
"""How PyTorch says that an accelerator failed; an error class of its own came late and covers only some."""


def is_device_failure(error: BaseException) -> bool:
    """Whether ``error`` says that an accelerator failed or went away. Memory that ran out is no failure."""
    known = isinstance(error, getattr(torch, "AcceleratorError", ())) or any(words in str(error) for words in LOST)
    return isinstance(error, RuntimeError) and known and not is_out_of_memory(error)


@contextmanager
def failures_named(what: str) -> Iterator[None]:
    """An accelerator that fails or disappears inside is an :class:`OutsideError` that says how ``what`` goes on.

    Args:
        what: what was interrupted and how it goes on, as the last part of a sentence.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_device_failure(error):
            raise
        raise OutsideError(
            f"the GPU failed or is gone: {str(error).splitlines()[0]}; look at nvidia-smi and the kernel's log, then ask again: {what}"
        ) from error
