"""Families whose network is a transformer trained by flow matching: Stable Diffusion 3 and Flux (Esser et al., arXiv 2403.03206)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.families.base import Adapter, Condition, Sampling, cut_off, guide
from seedbank.selection.sampling.families.precision import in_dtype

LONG_PROMPT = {"StableDiffusion3Pipeline": 256, "FluxPipeline": 512}
"""Tokens that the pipelines give their T5 text encoder."""


@dataclass(frozen=True)
class StableDiffusion3(Adapter):
    """Stable Diffusion 3 and 3.5: up to three text encoders, both branches of guidance in one batch."""

    part: ClassVar[str] = "transformer"

    @property
    def multiple(self) -> int:
        """Pixels that height and width must be multiples of: whole patches of latents."""
        return self.factor * int(self.network.config.patch_size)

    def sampling(self) -> Sampling:
        """28 steps at guidance 7, the pipeline's own default."""
        return Sampling(28, 7.0, self.network.config.sample_size * self.factor)

    def timing(self, steps: int, config: SamplerConfig) -> dict[str, Any]:
        """The number of steps, and the shift for the image's size where the scheduler asks for it."""
        found: dict[str, Any] = {"num_inference_steps": steps}
        if self.pipeline.scheduler.config.get("use_dynamic_shifting"):
            found["mu"] = self._shift(config, self.multiple, 1.16)
        return found

    def _condition(self, prompt: str, config: SamplerConfig, at: torch.device) -> Condition:
        """All encoders' states in one sequence, and the pooled ones."""
        guided = config.guidance_scale > 1
        # None, None: the second and third encoder get the same prompt
        text, empty, pooled, pooled_empty = self.pipeline.encode_prompt(
            prompt,
            None,
            None,
            device=at,
            do_classifier_free_guidance=guided,
            negative_prompt=config.negative_prompt or None,
        )
        extra = {"pooled_projections": torch.cat([pooled_empty, pooled]) if guided else pooled}
        return Condition(torch.cat([empty, text]) if guided else text, extra, self._cut(prompt, "text_encoder_3"))

    def _predict(self, latents: Tensor, timestep: Tensor, condition: Condition, guidance_scale: float) -> Tensor:
        """The transformer's velocity, guided."""
        branches = len(condition)
        spread = condition.spread(len(latents))
        times = timestep.expand(len(spread))

        def run(batch: Tensor) -> Tensor:
            found: Tensor = self.network(batch, spread.text, timestep=times, return_dict=False, **spread.extra)[0]
            return found

        return guide(in_dtype(run, latents.repeat(branches, 1, 1, 1), self.dtype), branches, guidance_scale)

    def _shift(self, config: SamplerConfig, patch: int, most: float) -> float:
        """The timestep shift: linear in the number of image tokens between the scheduler's two anchors."""
        of, tokens = self.pipeline.scheduler.config, (config.height // patch) * (config.width // patch)
        few, many = of.get("base_image_seq_len", 256), of.get("max_image_seq_len", 4096)
        least, most = of.get("base_shift", 0.5), of.get("max_shift", most)
        # diffusers' calculate_shift: the line through (few, least) and (many, most)
        per_token = (most - least) / (many - few)
        return float(tokens * per_token + least - few * per_token)

    def _cut(self, prompt: str, long_encoder: str) -> str:
        pipe = self.pipeline
        limits = [(pipe.tokenizer, pipe.tokenizer.model_max_length)]
        if getattr(pipe, long_encoder) is not None:
            tokenizer = getattr(pipe, long_encoder.replace("text_encoder", "tokenizer"))
            limits.append((tokenizer, LONG_PROMPT[type(pipe).__name__]))
        return cut_off(prompt, limits)


@dataclass(frozen=True)
class Flux(StableDiffusion3):
    """Flux: latents enter as 2x2 patches with their positions; guidance, where there is any, is an input of the network."""

    @property
    def channels(self) -> int:
        """Channels of a latent before 2x2 positions are packed into one token."""
        return int(self.network.config.in_channels) // 4

    @property
    def multiple(self) -> int:
        """Pixels that height and width must be multiples of."""
        return 2 * self.factor

    @property
    def takes_guidance(self) -> bool:
        """Whether guidance is an input of the network (dev), or nothing it knows (schnell)."""
        return bool(self.network.config.guidance_embeds)

    def sampling(self) -> Sampling:
        """28 steps at guidance 3.5; 4 steps without guidance for schnell."""
        side = self.pipeline.default_sample_size * self.factor
        return Sampling(28, 3.5, side) if self.takes_guidance else Sampling(4, 0.0, side)

    def timing(self, steps: int, config: SamplerConfig) -> dict[str, Any]:
        """Evenly spaced noise levels from 1, and the shift for the image's size."""
        found: dict[str, Any] = {"mu": self._shift(config, self.multiple, 1.15)}
        if self.pipeline.scheduler.config.get("use_flow_sigmas"):
            return found | {"num_inference_steps": steps}
        # what FluxPipeline passes by default
        return found | {"sigmas": np.linspace(1.0, 1 / steps, steps)}

    def _condition(self, prompt: str, config: SamplerConfig, at: torch.device) -> Condition:
        """T5's states and CLIP's pooled one; always one branch."""
        text, pooled, _ = self.pipeline.encode_prompt(prompt, None, device=at)
        extra = {"pooled_projections": pooled}
        if self.takes_guidance:
            extra["guidance"] = torch.tensor([config.guidance_scale], device=at, dtype=torch.float32)
        return Condition(text, extra, self._cut(prompt, "text_encoder_2"))

    def pipeline_latents(self, noise: Tensor) -> Tensor:
        """``[B, h/2·w/2, 4C]``: packed."""
        return _pack(super().pipeline_latents(noise))

    def _predict(self, latents: Tensor, timestep: Tensor, condition: Condition, guidance_scale: float) -> Tensor:
        """The transformer's velocity, from packed tokens and back."""
        _, _, height, width = latents.shape
        spread = condition.spread(len(latents))

        def run(tokens: Tensor) -> Tensor:
            found: Tensor = self.network(
                hidden_states=tokens,
                # the transformer multiplies with 1000 itself
                timestep=(timestep / 1000).expand(len(tokens)).to(self.dtype),
                encoder_hidden_states=spread.text,
                txt_ids=torch.zeros(spread.text.shape[1], 3, device=self.device, dtype=self.dtype),
                img_ids=_positions(height // 2, width // 2).to(self.device, self.dtype),
                return_dict=False,
                **spread.extra,
            )[0]
            return found

        return _unpack(in_dtype(run, _pack(latents), self.dtype), height, width)


def _pack(latents: Tensor) -> Tensor:
    """``[B, C, 2h, 2w]`` to ``[B, h·w, 4C]``: each 2x2 patch one token."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    # [B, C, h, 2, w, 2] to [B, h, w, C, 2, 2]
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, height * width // 4, 4 * channels)


def _unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of :func:`_pack`."""
    patches = tokens.reshape(len(tokens), height // 2, width // 2, -1, 2, 2)
    # [B, h, w, C, 2, 2] to [B, C, h, 2, w, 2]
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, height, width)


def _positions(rows: int, columns: int) -> Tensor:
    """``[rows·columns, 3]``: zero, row and column of each token."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], -1).flatten(0, 1)
