"""What fits into a card's memory, planned from numbers: the bytes of a model's parts and what one image takes beside them.

Pure: :mod:`~seedbank.selection.sampling.metering` finds the numbers, :mod:`~seedbank.selection.sampling.placement` does what the plan says.

Measures are taken in the order of what they cost: text encoders put away (nothing), activations computed again on the way back (a third
of a gradient's time), network and codec taking turns on the card (seconds an image). None of these changes a result. Decoding in tiles
does, a little where tiles meet, so it comes after all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

GIB = 2**30
RESERVE = int(0.75 * GIB)
"""For CUDA's context, its libraries' workspaces and the small tensors of a search."""
SLACK = 1.1
"""What an allocator takes for each byte that is asked for, in blocks that do not fit each other."""
MOST = 64
"""Images at once beyond which a card is no faster."""
TOO_MUCH = 2**60
"""Bytes of work that ran out of memory while it was measured."""


@dataclass(frozen=True)
class Weights:
    """Bytes of a model's parts and of the judges."""

    network: int
    codec: int
    text_encoders: int = 0
    judges: int = 0


@dataclass(frozen=True)
class Work:
    """Bytes that one image takes in one part, beside its weights.

    Attributes:
        plain: the most at any time without a gradient.
        held: what the graph keeps between the way there and the way back.
        peak: the most at any time, there and back.
    """

    plain: int
    held: int
    peak: int


@dataclass(frozen=True)
class Costs:
    """What one image takes, by part and by how it is computed."""

    network: Work
    network_recomputed: Work
    codec: Work
    codec_recomputed: Work
    codec_tiled: Work
    """Recomputed too."""
    views: int
    """Of the judges with a gradient: all views of one image."""


@dataclass(frozen=True)
class MemoryPlan:
    """How a search is laid out in memory.

    Attributes:
        text_encoders_away: they are on the card only while a prompt is encoded.
        encode_at: where prompts are encoded: on the card, or on the CPU where the text encoders do not fit beside the rest.
        vae_slicing: without a gradient, images are decoded one by one.
        vae_tiling: images are decoded in tiles; the only measure that changes an image.
        checkpointing: activations of network and codec are computed again on the way back instead of being kept.
        offload: ``model`` where network and codec take turns on the card.
        gradients: images at once with a gradient.
        samples: images at once without one.
        needed: bytes at the peak of a search with one image at once, by this estimate.
        free: bytes there were.
        reasons: why, in words.
    """

    text_encoders_away: bool
    encode_at: Literal["device", "cpu"]
    vae_slicing: bool
    vae_tiling: bool
    checkpointing: bool
    offload: Literal["none", "model"]
    gradients: int
    samples: int
    needed: int
    free: int
    reasons: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether one image fits by the estimate; where not, it is tried all the same."""
        return self.needed <= self.free

    def __str__(self) -> str:
        """For people: what is needed of what is there, and every reason."""
        return f"{gib(self.needed)} needed of {gib(self.free)} free: " + "; ".join(self.reasons)


@dataclass(frozen=True)
class _Layout:
    """One way to compute: which measures are taken."""

    checkpointing: bool = False
    offload: bool = False
    tiling: bool = False

    def works(self, costs: Costs) -> tuple[Work, Work]:
        """Of the network and of the codec."""
        network = costs.network_recomputed if self.checkpointing else costs.network
        codec = costs.codec_recomputed if self.checkpointing else costs.codec
        return network, costs.codec_tiled if self.tiling else codec

    def gradient(self, weights: Weights, costs: Costs, count: int = 1) -> int:
        """Bytes at the peak of an iteration of ``count`` images."""
        network, codec = self.works(costs)
        # one_vjp keeps the network's graph while it decodes and judges; the other modes keep none, and take no more than this.
        # The judges' graphs are gone when the codec's way back begins.
        judged = network.held + max(codec.held + costs.views, codec.peak)
        return self._peak(weights, count * network.peak, count * judged)

    def sample(self, weights: Weights, costs: Costs, count: int = 1, *, sliced: bool = True) -> int:
        """Bytes at the peak of drawing ``count`` images; ``sliced``: decoded one by one."""
        network, codec = self.works(costs)
        return self._peak(weights, count * network.plain, (1 if sliced else count) * codec.plain)

    def _peak(self, weights: Weights, denoising: int, decoding: int) -> int:
        with_network, with_codec = (int(SLACK * work) for work in (denoising, decoding))
        if self.offload:
            together = max(weights.network + with_network, weights.codec + with_codec)
        else:
            together = weights.network + weights.codec + max(with_network, with_codec)
        return weights.judges + RESERVE + together


LAYOUTS = (
    _Layout(),
    _Layout(checkpointing=True),
    _Layout(checkpointing=True, offload=True),
    _Layout(checkpointing=True, offload=True, tiling=True),
)
"""In the order of what they cost."""


def plan_memory(weights: Weights, costs: Costs, free: int) -> MemoryPlan:
    """The first layout in which a gradient of one image fits into ``free`` bytes, and as many images at once as then fit."""
    fitting = [layout for layout in LAYOUTS if layout.gradient(weights, costs) <= free]
    chosen = fitting[0] if fitting else LAYOUTS[-1]
    gradients = _most(lambda count: chosen.gradient(weights, costs, count) <= free)
    samples = _most(lambda count: chosen.sample(weights, costs, count) <= free)
    resident = sum((weights.network, weights.codec, weights.judges, RESERVE))
    beside = resident + weights.text_encoders <= free
    return MemoryPlan(
        text_encoders_away=True,
        encode_at="device" if beside else "cpu",
        # the codec's images are several times as large as the network's: only where all fit are they decoded together
        vae_slicing=chosen.sample(weights, costs, samples, sliced=False) > free,
        vae_tiling=chosen.tiling,
        checkpointing=chosen.checkpointing,
        offload="model" if chosen.offload else "none",
        gradients=gradients,
        samples=samples,
        needed=chosen.gradient(weights, costs),
        free=free,
        reasons=tuple(_reasons(chosen, weights, costs, free, beside=beside)),
    )


def _most(fits: Callable[[int], bool]) -> int:
    """The largest number of images that ``fits``, at least 1 and at most :data:`MOST`."""
    return next((count for count in range(MOST, 1, -1) if fits(count)), 1)


MEASURES = (
    "activations are computed again on the way back",
    "network and codec take turns on the card",
    "images are decoded in tiles, which changes them a little where tiles meet",
)
"""What each layout adds to the one before."""


def _reasons(chosen: _Layout, weights: Weights, costs: Costs, free: int, *, beside: bool) -> list[str]:
    found = [f"text encoders ({gib(weights.text_encoders)}) are put away once a prompt is encoded"]
    if not beside:
        found.append("prompts are encoded on the CPU, as the text encoders do not fit beside the rest")
    taken = LAYOUTS.index(chosen)
    for words, before in zip(MEASURES[:taken], LAYOUTS[:taken], strict=True):
        needed = before.gradient(weights, costs)
        found.append(f"{words}: without that {gib(needed) if needed < TOO_MUCH else 'more than there is'} is needed")
    if chosen.gradient(weights, costs) > free:
        found.append("even so it does not fit by this estimate; choose a smaller image or a card with more memory")
    return found


def gib(count: int) -> str:
    """Bytes for people."""
    return f"{count / GIB:.1f} GiB"
