"""Where a model's parts lie, and how they come and go: text encoders for a prompt, network and codec by turns where both do not fit.

What a pipeline's placement is, it carries with it (:func:`placement_of`); one that nobody placed stays as it lies, with nothing planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seedbank.errors import OutOfMemory
from seedbank.selection.sampling.batches import BatchSizes
from seedbank.selection.sampling.memory import RESERVE, MemoryPlan, Weights, gib

_ATTRIBUTE = "seedbank_placement"
KINDS = ("sampling", "drawing", "calibration", "decoding")
GRADIENTS = ("gradient one_vjp", "gradient last", "gradient full")


@dataclass
class Away:
    """Modules that live in one place and work in another; weights are copied there and, as nothing changes them, never back."""

    modules: Sequence[nn.Module]
    _home: list[tuple[dict[str, Any], str, Tensor]] = field(default_factory=list)

    def bring(self, device: torch.device) -> None:
        """To ``device``."""
        if self._home:
            return
        copies: dict[int, Tensor] = {}  # tied weights stay tied
        for slots in self._slots():
            for name, tensor in slots.items():
                if tensor is not None and tensor.device != device:
                    self._home.append((slots, name, tensor))
                    if id(tensor) not in copies:
                        copies[id(tensor)] = _moved(tensor, device)
        for slots, name, tensor in self._home:
            slots[name] = copies[id(tensor)]

    def send_back(self) -> None:
        """To where they live."""
        for slots, name, tensor in self._home:
            slots[name] = tensor
        self._home.clear()

    def _slots(self) -> Iterator[dict[str, Any]]:
        for module in self.modules:
            for part in module.modules():
                yield part._parameters
                yield part._buffers


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    copy = tensor.detach().to(device)
    return nn.Parameter(copy, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copy


@dataclass
class Placement:
    """Where a pipeline works.

    Attributes:
        device: where the network computes.
        plan: what memory allows; None where nothing was planned: on the CPU, and for a pipeline as its owner placed it.
    """

    device: torch.device
    text_encoders: Away
    network: Away
    codec: Away
    plan: MemoryPlan | None = None
    encode_at: torch.device | None = None
    undo: list[Callable[[], None]] = field(default_factory=list)
    """What takes back what the plan changed of the parts."""

    def clear(self) -> None:
        """As if nothing had been planned."""
        while self.undo:
            self.undo.pop()()
        self.network.send_back()
        self.codec.send_back()
        self.plan = self.encode_at = None

    @contextmanager
    def encoding(self) -> Iterator[torch.device]:
        """Where a prompt is encoded, with the text encoders there."""
        at = self.encode_at or self.device
        self.text_encoders.bring(at)
        try:
            yield at
        finally:
            self.text_encoders.send_back()

    def turn(self, part: str) -> None:
        """It is the turn of ``network`` or ``codec``: where not both fit, the other one goes."""
        if self.plan is None or self.plan.offload == "none":
            return
        mine, other = (self.network, self.codec) if part == "network" else (self.codec, self.network)
        other.send_back()
        mine.bring(self.device)

    def on_the_way_back(self, part: str, output: Tensor) -> Tensor:
        """``output`` of ``part``, whose turn it is again when a gradient arrives there."""
        if output.requires_grad and self.plan is not None and self.plan.offload != "none":
            output.register_hook(lambda _gradient: self.turn(part))  # type: ignore[no-untyped-call]
        return output

    def batch_sizes(self) -> BatchSizes:
        """How many images at once memory was planned for; nothing learnt yet."""
        if self.plan is None:
            return BatchSizes()
        samples = dict.fromkeys(KINDS, self.plan.samples)
        return BatchSizes(samples | dict.fromkeys(GRADIENTS, self.plan.gradients))


def placement_of(pipeline: Any) -> Placement:
    """What :func:`place` gave ``pipeline``, else as it lies."""
    found: Placement | None = getattr(pipeline, _ATTRIBUTE, None)
    return found or as_it_lies(pipeline)


def as_it_lies(pipeline: Any) -> Placement:
    """The placement of a pipeline whose owner put it where it is: the network's device, with text encoders brought there for a prompt."""
    network: Any = _network(pipeline)
    return Placement(torch.device(network.device), Away(text_encoders(pipeline)), Away([network]), Away([pipeline.vae]))


def text_encoders(pipeline: Any) -> list[nn.Module]:
    """Those that there are."""
    found = (getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2", "text_encoder_3"))
    return [part for part in found if isinstance(part, nn.Module)]


def weights_of(pipeline: Any, *, judges: int = 0) -> Weights:
    """Bytes of a pipeline's parts."""
    vae = pipeline.vae
    upcast = vae.dtype == torch.float16 and vae.config.get("force_upcast")
    return Weights(
        network=size_of([_network(pipeline)]),
        # its float32 copy is made beside it
        codec=size_of([vae]) * (3 if upcast else 1),
        text_encoders=size_of(text_encoders(pipeline)),
        judges=judges,
    )


def size_of(modules: Sequence[nn.Module]) -> int:
    """Bytes of all weights and buffers; tied ones once."""
    tensors = {id(each): each for module in modules for each in (*module.parameters(), *module.buffers())}
    return sum(each.numel() * each.element_size() for each in tensors.values())


def _network(pipeline: Any) -> nn.Module:
    found: nn.Module = pipeline.transformer if hasattr(pipeline, "transformer") else pipeline.unet
    return found


Planner = Callable[[Any, Weights], MemoryPlan]
"""Makes the plan of a pipeline whose network and codec are in place."""


def place(pipeline: Any, device: torch.device, planner: Planner | None = None, *, free: int = 0) -> Placement:
    """Put ``pipeline`` on ``device``: all of it, or with a ``planner`` the network and codec, as its plan for ``free`` bytes says.

    ``free`` is what there is before anything of the pipeline is there. What an earlier plan changed is taken back first.

    Raises:
        OutOfMemory: the network alone does not fit.
    """
    placement_of(pipeline).clear()
    if planner is None:
        pipeline.to(device)
        return _carried(pipeline, as_it_lies(pipeline))
    weights = weights_of(pipeline)
    if max(weights.network, weights.codec) + RESERVE > free:
        raise OutOfMemory(
            f"expected {gib(weights.network + RESERVE)} free on {device} for {type(pipeline).__name__}, got {gib(free)}; close what else "
            "uses the card, choose a smaller precision (bfloat16, float16), or SEEDBANK_DEVICE=cpu"
        )
    placement = _carried(pipeline, as_it_lies(pipeline))
    placement.device = device
    placement.network.bring(device)
    placement.codec.bring(device)
    fits = sum((weights.network, weights.codec, weights.text_encoders, RESERVE)) <= free
    placement.encode_at = device if fits else torch.device("cpu")
    follow(pipeline, placement, planner(pipeline, weights))
    return placement


def follow(pipeline: Any, placement: Placement, plan: MemoryPlan) -> None:
    """Do what ``plan`` says."""
    placement.plan = plan
    placement.encode_at = placement.device if plan.encode_at == "device" else torch.device("cpu")
    network, codec = _network(pipeline), pipeline.vae
    if plan.checkpointing:
        placement.undo += [recompute(network), recompute(codec)]
    if plan.vae_slicing and hasattr(codec, "enable_slicing"):
        codec.enable_slicing()
        placement.undo.append(codec.disable_slicing)
    if plan.vae_tiling and hasattr(codec, "enable_tiling"):
        codec.enable_tiling()
        placement.undo.append(codec.disable_tiling)
    placement.turn("network")


def recompute(module: Any) -> Callable[[], None]:
    """From now on ``module`` keeps its blocks' inputs and computes the rest again on the way back; what undoes it is returned.

    Where diffusers can do that for the blocks of a codec, each of its residual layers is also computed again by itself: at 1024 pixels
    one block alone takes as much as all of Stable Diffusion 1.5. A module that cannot stays as it is.
    """
    if not getattr(module, "_supports_gradient_checkpointing", False) or module.is_gradient_checkpointing:
        return lambda: None
    module.enable_gradient_checkpointing()
    layers = (
        [layer for layer in module.modules() if type(layer).__name__ in LAYERS] if hasattr(module, "decoder") else []
    )
    for layer in layers:
        layer.forward = partial(_again, layer.forward)

    def undo() -> None:
        module.disable_gradient_checkpointing()
        for layer in layers:
            del layer.forward  # the class's own is under it

    return undo


LAYERS = ("ResnetBlock2D", "Upsample2D")
"""Of a codec, the layers at full size."""


def _again(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, **named)


def _carried(pipeline: Any, placement: Placement) -> Placement:
    setattr(pipeline, _ATTRIBUTE, placement)
    return placement
