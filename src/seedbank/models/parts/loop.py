"""One training loop for every network of the model: resumable, seeded, with averaged weights.

Step ``n`` draws all its randomness from ``(seed, n)``, and a checkpoint holds weights, averages and optimiser, so a run that is
killed and started again goes on where it was. SIGTERM asks for a checkpoint and a clean stop. Training runs on a GPU where there is
one and on the CPU otherwise.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from seedbank.errors import OutsideError

Loss = Callable[[torch.Generator], Tensor]


@dataclass(frozen=True)
class Budget:
    """How long and how fast to train. The rate warms up, stays, then falls to zero over the last `decay` of the steps."""

    steps: int
    batch: int
    rate: float
    warmup: int = 100
    decay: float = 0.25
    weight_decay: float = 0.01
    averaging: float = 0.999
    checkpoint_seconds: float = 120.0
    seed: int = 2304

    def rate_at(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        remaining = (self.steps - step) / (self.steps * self.decay)
        return self.rate * min(1.0, (step + 1) / self.warmup, remaining)


@dataclass(frozen=True)
class Trained:
    """The averaged weights, how many steps went into them and the seconds those took."""

    model: nn.Module
    steps: int
    seconds: float


def accelerator() -> torch.device:
    """The device to train on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half_precision(device: torch.device, *, recorded: bool = False) -> torch.autocast:
    """Arithmetic in bfloat16 where that is safe; `recorded` is for a pass that becomes part of a CUDA graph."""
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=not recorded)


def recorded(network: nn.Module, samples: tuple[Tensor, ...]) -> nn.Module:
    """`network` with its forward and backward pass as one CUDA graph each, for inputs shaped like `samples`; on a CPU, as it is.

    Small networks spend most of a training step on starting kernels; a graph starts them all at once.
    """
    if samples[0].device.type != "cuda":
        return network
    graphed: nn.Module = torch.cuda.make_graphed_callables(network, samples)  # type: ignore[assignment]
    return graphed


class Interrupted(OutsideError):
    """Training was asked to stop before its last step; the checkpoint is written and the same command goes on from it."""


def fit(name: str, model: nn.Module, loss: Loss, budget: Budget, work: Path) -> Trained:
    """Minimise `loss` over the weights of `model`, from the checkpoint ``work/name.pt`` if there is one.

    `loss` gets a generator seeded for its step and must draw all its randomness from it. `model` and `loss` are on the
    :func:`accelerator`. Raises `Interrupted` on SIGTERM.
    """
    device = next(model.parameters()).device
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=budget.rate, weight_decay=budget.weight_decay, betas=(0.9, 0.99), fused=True
    )
    averaged = deepcopy(model).requires_grad_(False)
    checkpoint = work / f"{name}.pt"
    step, seconds = _restore(checkpoint, model, averaged, optimiser)
    began = saved = time.monotonic()
    running = torch.zeros((), device=device)
    with _stop_signal() as stopped:
        while step < budget.steps:
            for group in optimiser.param_groups:
                group["lr"] = budget.rate_at(step)
            value = _update(model, loss, optimiser, torch.Generator(device).manual_seed(budget.seed * 1_000_003 + step))
            running = value if step == 0 else running.lerp(value, max(0.02, 1 / (step + 1)))
            step += 1
            _average(averaged, model, min(budget.averaging, (1 + step) / (10 + step)))
            now = time.monotonic()
            if step % 50 == 0:
                print(
                    f"{name} {step}/{budget.steps} loss {float(running):.4f} {seconds + now - began:.0f} s", flush=True
                )
            if now - saved > budget.checkpoint_seconds or stopped() or step == budget.steps:
                _save(checkpoint, model, averaged, optimiser, step, seconds + now - began)
                saved = now
            if stopped() and step < budget.steps:
                raise Interrupted(f"{name} stopped after {step} of {budget.steps} steps; run the same command to go on")
    return Trained(averaged.cpu().eval(), step, seconds + time.monotonic() - began)


def averaged(name: str, model: nn.Module, work: Path) -> Trained:
    """`model` with the averaged weights of the latest checkpoint, finished or not. Raises `OutsideError` if there is none."""
    checkpoint = work / f"{name}.pt"
    if not checkpoint.exists():
        raise OutsideError(f"no checkpoint {checkpoint}; train the stage {name!r} first")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state["averaged"])
    return Trained(model.eval(), state["step"], state["seconds"])


def _update(model: nn.Module, loss: Loss, optimiser: torch.optim.Optimizer, generator: torch.Generator) -> Tensor:
    model.train()
    value = loss(generator)
    value.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return value.detach()


def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(averaged.parameters()), [p.detach() for p in model.parameters()], 1 - decay)
    for kept, live in zip(averaged.buffers(), model.buffers(), strict=True):
        kept.copy_(live)


def _restore(path: Path, model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location=next(model.parameters()).device, weights_only=True)
    model.load_state_dict(state["model"])
    averaged.load_state_dict(state["averaged"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"]), float(state["seconds"])


def _save(
    path: Path, model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    state = {"model": model.state_dict(), "averaged": averaged.state_dict(), "optimiser": optimiser.state_dict()}
    partial = path.with_suffix(".partial")
    torch.save(state | {"step": step, "seconds": seconds}, partial)
    partial.replace(path)


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM into a flag for as long as the block runs."""
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGTERM, before)
