"""What every family offers, and what they share: conditions, guidance, and the way between latents and images."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.batches import BatchSizes, in_batches
from seedbank.selection.sampling.families.precision import in_dtype
from seedbank.selection.sampling.placement import Placement, placement_of


@dataclass(frozen=True)
class Condition:
    """What the network is conditioned on: one row for each branch of guidance, the negative or empty prompt first if two.

    Attributes:
        text: ``[b, T, D]``, the text encoder's states.
        extra: further inputs of the network by the name of its argument, ``[b, …]`` each.
        cut: what of the prompt is beyond the tokenizer's limit; the network does not see it.
    """

    text: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    cut: str = ""

    def __len__(self) -> int:
        """The number of branches: 2 with classifier-free guidance, else 1."""
        return len(self.text)

    def spread(self, batch: int) -> Condition:
        """Each row ``batch`` times in a row, as a batch of images wants it."""
        # e e … t t …, the order of latents.repeat(b, …): guide() cuts the output in half between the branches
        rows = {name: values.repeat_interleave(batch, 0) for name, values in self.extra.items()}
        return replace(self, text=self.text.repeat_interleave(batch, 0), extra=rows)

    def to(self, device: torch.device) -> Condition:
        """The same on ``device``."""
        rows = {name: values.to(device) for name, values in self.extra.items()}
        return replace(self, text=self.text.to(device), extra=rows)


@dataclass(frozen=True)
class Sampling:
    """How a model is meant to be sampled where it does not say so itself. ``side`` in pixels."""

    steps: int
    guidance: float
    side: int


class Family(Protocol):
    """A family of pipelines. Latents are float32 and scaled to about unit variance; images are 0..1, not clamped."""

    @property
    def pipeline(self) -> Any:
        """What it adapts."""

    @property
    def network(self) -> Any:
        """The denoising network itself."""

    @property
    def channels(self) -> int:
        """Channels of a latent."""

    @property
    def factor(self) -> int:
        """Pixels per latent position along one side."""

    @property
    def multiple(self) -> int:
        """Height and width of an image must be multiples of this many pixels."""

    @property
    def device(self) -> torch.device:
        """Where the networks are."""

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the denoising network's arithmetic."""

    @property
    def codec(self) -> Codec:
        """What goes between latents and images."""

    @property
    def can_encode(self) -> bool:
        """Whether images can be turned into latents; without it there is no appearance term, no inversion and no codec matching."""

    def batch_sizes(self) -> BatchSizes:
        """How many images at once memory was planned for."""

    def sampling(self) -> Sampling:
        """How the model is usually sampled, judged from its class and scheduler."""

    def timing(self, steps: int, config: SamplerConfig) -> dict[str, Any]:
        """What the pipeline gives its scheduler's ``set_timesteps``."""

    def condition(self, prompt: str, config: SamplerConfig) -> Condition:
        """What the network is conditioned on for ``prompt``: two branches when guided by comparison with the negative prompt, else one."""

    def predict(self, latents: Tensor, timestep: Tensor, condition: Condition, guidance_scale: float) -> Tensor:
        """The network's output for ``[B, C, h, w]`` at ``timestep``, guided, float32. Differentiable."""

    def pipeline_latents(self, noise: Tensor) -> Tensor:
        """What the stock pipeline takes as ``latents=`` for the seeds ``noise`` ``[B, C, h, w]``: their layout, device and data type.

        Not multiplied with ``init_noise_sigma``: the pipeline does that itself.
        """

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` of latents. Differentiable."""

    def encode(self, images01: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents of images: the posterior's mean, or a sample of it drawn from ``generator``.

        Raises:
            UsageError: the model has no encoder.
        """


@dataclass(frozen=True)
class Codec:
    """An image codec: a VAE with the affine map that gives its latents about unit variance."""

    vae: Any

    @cached_property
    def network(self) -> Any:
        """The VAE, in float32 where it says that float16 is not enough (SDXL's); the pipeline's own is left as it is."""
        if self.vae.dtype == torch.float16 and self.vae.config.get("force_upcast"):
            return copy.deepcopy(self.vae).float()
        return self.vae

    @property
    def can_encode(self) -> bool:
        """Whether there is an encoder."""
        return getattr(self.vae, "encoder", None) is not None

    @cached_property
    def _affine(self) -> tuple[Tensor | float, Tensor | float]:
        """``(scale, mean)`` of ``raw = latents · scale + mean``."""
        config, at = self.vae.config, self.vae.device
        deviation, mean = config.get("latents_std"), config.get("latents_mean")
        if deviation is not None and mean is not None:
            # as diffusers' SDXL pipeline: raw = latents·std / scaling_factor + mean
            channels = [torch.tensor(values, device=at).view(1, -1, 1, 1) for values in (deviation, mean)]
            return channels[0] / config.scaling_factor, channels[1]
        return 1 / config.scaling_factor, config.get("shift_factor") or 0.0

    def decode(self, latents: Tensor) -> Tensor:
        """Images in about 0..1; values outside are kept so that their gradient is not lost."""
        scale, mean = self._affine
        network = self.network

        def run(raw: Tensor) -> Tensor:
            found: Tensor = network.decode(raw, return_dict=False)[0]
            return found

        return in_dtype(run, latents * scale + mean, network.dtype) / 2 + 0.5

    def encode(self, images01: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents of images in 0..1; raises :class:`~seedbank.errors.UsageError` without an encoder."""
        if not self.can_encode:
            raise UsageError(
                f"expected a VAE with an encoder, got {type(self.vae).__name__} without one; without it references have no "
                "latents: leave out the appearance term, inverted references and codec matching, or give the pipeline a full VAE"
            )
        scale, mean = self._affine
        found = self.network.encode((2 * images01 - 1).to(self.network.dtype))
        if hasattr(found, "latent_dist"):
            latents = found.latent_dist.mode() if generator is None else found.latent_dist.sample(generator)
        else:  # AutoencoderTiny has no posterior
            latents = found.latents
        return torch.as_tensor((latents.float() - mean) / scale)


@dataclass(frozen=True)
class Adapter(ABC):
    """What all adapters share: a pipeline, its network under the name ``part``, and its image codec."""

    part: ClassVar[str]

    pipeline: Any

    @property
    def network(self) -> Any:
        """The denoising network."""
        return getattr(self.pipeline, self.part)

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return int(self.network.config.in_channels)

    @property
    def factor(self) -> int:
        """Pixels per latent position along one side."""
        return int(self.pipeline.vae_scale_factor)

    @property
    def multiple(self) -> int:
        """Pixels that height and width must be multiples of."""
        return self.factor

    @cached_property
    def placement(self) -> Placement:
        """Where the parts lie."""
        return placement_of(self.pipeline)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        placed = self.placement
        # planned, the network may be away while others have their turn; else its owner may move it at any time
        return placed.device if placed.plan else torch.device(self.network.device)

    def batch_sizes(self) -> BatchSizes:
        """How many images at once memory was planned for."""
        return self.placement.batch_sizes()

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the network's arithmetic."""
        found: torch.dtype = self.network.dtype
        return found

    @cached_property
    def codec(self) -> Codec:
        """The VAE."""
        return Codec(self.pipeline.vae)

    @property
    def can_encode(self) -> bool:
        """Whether the VAE has an encoder."""
        return self.codec.can_encode

    def pipeline_latents(self, noise: Tensor) -> Tensor:
        """``[B, C, h, w]``, as they are."""
        return noise.to(self.device, self.dtype)

    def condition(self, prompt: str, config: SamplerConfig) -> Condition:
        """What the network is conditioned on for ``prompt``; each is encoded once, as the text encoders may have to be brought for it."""
        asked = (prompt, config.negative_prompt, config.guidance_scale, config.height, config.width)
        if asked not in self._conditions:
            with torch.no_grad(), self.placement.encoding() as at:
                self._conditions[asked] = self._condition(prompt, config, at).to(self.device)
        return self._conditions[asked]

    def predict(self, latents: Tensor, timestep: Tensor, condition: Condition, guidance_scale: float) -> Tensor:
        """The network's output, guided."""
        self.placement.turn("network")
        found = self._predict(latents, timestep, condition, guidance_scale)
        return self.placement.on_the_way_back("network", found)

    def decode(self, latents: Tensor) -> Tensor:
        """Images in about 0..1. Without a gradient in pieces that fit into memory, all at once where they do."""
        self.placement.turn("codec")
        if torch.is_grad_enabled() and latents.requires_grad:
            # smaller pieces would save nothing: the graphs of all are kept
            return self.placement.on_the_way_back("codec", self.codec.decode(latents))
        return self._in_pieces(self.codec.decode, latents)

    def encode(self, images01: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents of images in 0..1."""
        self.placement.turn("codec")
        # a generator draws another sequence for each size of piece
        if generator is not None:
            return self.codec.encode(images01, generator)
        return self._in_pieces(self.codec.encode, images01)

    def _in_pieces(self, work: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        pieces = in_batches(lambda piece: work(rows[piece]), len(rows), sizes=self._sizes, kind="decoding")
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    @cached_property
    def _sizes(self) -> BatchSizes:
        return self.batch_sizes()

    @cached_property
    def _conditions(self) -> dict[tuple[object, ...], Condition]:
        return {}

    @abstractmethod
    def _condition(self, prompt: str, config: SamplerConfig, at: torch.device) -> Condition:
        """What :meth:`condition` gives, wherever it is; the text encoders are ``at`` that device."""

    @abstractmethod
    def _predict(self, latents: Tensor, timestep: Tensor, condition: Condition, guidance_scale: float) -> Tensor:
        """What :meth:`predict` gives, with the network in place."""


def guide(output: Tensor, branches: int, scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans, arXiv 2207.12598): ``e0 + s·(e1 - e0)``; one branch passes through."""
    if branches == 1:
        return output
    without, with_text = output.chunk(2)
    return without + scale * (with_text - without)


def cut_off(prompt: str, tokenizers: Sequence[tuple[Any, int]]) -> str:
    """What of ``prompt`` is beyond the largest limit, in tokens, of several tokenizers.

    Diffusers cuts a prompt off at each tokenizer's limit; what the largest one takes, the model sees.
    """
    tokenizer, limit = max(tokenizers, key=lambda pair: pair[1])
    tokens = tokenizer(prompt, add_special_tokens=True, truncation=False, verbose=False).input_ids
    if len(tokens) <= limit:
        return ""
    # the last token that fits is the end marker, so the text ends one earlier
    return str(tokenizer.decode(tokens[limit - 1 :], skip_special_tokens=True)).strip()
