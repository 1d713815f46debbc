"""Families whose network is a U-Net with cross-attention: Stable Diffusion 1.x and 2.x, SDXL, and what was distilled from them.

Few-step models are no family of their own: Turbo is sampled with one branch (guidance at most 1), and a latent consistency model has
learnt guidance as an input (``time_cond_proj_dim``; Luo et al., arXiv 2310.04378), so it needs no second branch either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from seedbank.selection.records import SamplerConfig
from seedbank.selection.sampling.families.base import Adapter, Condition, Sampling, cut_off, guide
from seedbank.selection.sampling.families.precision import in_dtype

ONE_STEP = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")
"""What SD-Turbo and SDXL-Turbo ship, with trailing timesteps; no many-step model of their families ships that."""


@dataclass(frozen=True)
class StableDiffusion(Adapter):
    """Stable Diffusion 1.x and 2.x and latent consistency models of them: one CLIP text encoder, both branches in one batch."""

    part: ClassVar[str] = "unet"

    @property
    def takes_guidance(self) -> bool:
        """Whether guidance is an input of the network."""
        return self.network.config.time_cond_proj_dim is not None

    def sampling(self) -> Sampling:
        """20 steps at guidance 7.5 as in the paper; 4 for a latent consistency model, 1 without guidance for Turbo."""
        side = self.network.config.sample_size * self.factor
        if self.takes_guidance or type(self.pipeline.scheduler).__name__ == "LCMScheduler":
            return Sampling(4, 8.5 if self.takes_guidance else 1.0, side)
        if _one_step(self.pipeline.scheduler):
            return Sampling(1, 0.0, side)
        return Sampling(20, 7.5, side)

    def timing(self, steps: int, config: SamplerConfig) -> dict[str, Any]:
        """Just the number of steps."""
        return {"num_inference_steps": steps}

    def _condition(self, prompt: str, config: SamplerConfig, at: torch.device) -> Condition:
        """CLIP's states of the prompt, those of the negative prompt first when guided, and the guidance where it is an input."""
        guided = self._guided(config)
        text, empty = self.pipeline.encode_prompt(prompt, at, 1, guided, config.negative_prompt or None)[:2]
        tokenizer = self.pipeline.tokenizer
        cut = cut_off(prompt, [(tokenizer, tokenizer.model_max_length)])
        return Condition(torch.cat([empty, text]) if guided else text, self._guidance(config, at), cut)

    def _predict(self, latents: Tensor, timestep: Tensor, condition: Condition, guidance_scale: float) -> Tensor:
        """The U-Net's output, guided."""
        branches, network = len(condition), self.network
        spread = condition.spread(len(latents))
        inputs = self._inputs(spread)

        def run(batch: Tensor) -> Tensor:
            found: Tensor = network(batch, timestep, spread.text, return_dict=False, **inputs)[0]
            return found

        return guide(in_dtype(run, latents.repeat(branches, 1, 1, 1), self.dtype), branches, guidance_scale)

    def _guided(self, config: SamplerConfig) -> bool:
        return config.guidance_scale > 1 and not self.takes_guidance

    def _guidance(self, config: SamplerConfig, at: torch.device) -> dict[str, Tensor]:
        """The guidance as the network's sinusoidal input; it was trained on the scale less one."""
        if not self.takes_guidance:
            return {}
        size = self.network.config.time_cond_proj_dim
        embedded = self.pipeline.get_guidance_scale_embedding(torch.tensor([config.guidance_scale - 1]), size)
        return {"timestep_cond": embedded.to(at, self.network.dtype)}

    def _inputs(self, condition: Condition) -> dict[str, Any]:
        return dict(condition.extra)


@dataclass(frozen=True)
class StableDiffusionXL(StableDiffusion):
    """SDXL (Podell et al., arXiv 2307.01952) and SDXL-Turbo: two text encoders, a pooled text state, and sizes as inputs."""

    def sampling(self) -> Sampling:
        """25 steps at guidance 5; few-step models as in the smaller family."""
        found = super().sampling()
        return Sampling(25, 5.0, found.side) if found.guidance == 7.5 else found

    def _condition(self, prompt: str, config: SamplerConfig, at: torch.device) -> Condition:
        """Both encoders' states and the pooled one; original and target size are the image's own, nothing is cropped."""
        pipe, guided = self.pipeline, self._guided(config)
        text, empty, pooled, pooled_empty = pipe.encode_prompt(
            prompt,
            device=at,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            # None and not "": some SDXL models are trained with zeros instead of the empty prompt's states.
            negative_prompt=config.negative_prompt or None,
        )
        # the paper's micro-conditioning (section 2.2): original size, top left of the crop, target size
        sizes = [config.height, config.width, 0, 0, config.height, config.width]
        extra = self._guidance(config, at) | {
            "text_embeds": torch.cat([pooled_empty, pooled]) if guided else pooled,
            "time_ids": torch.tensor([sizes] * (1 + guided), dtype=text.dtype, device=at),
        }
        tokenizers = [tokenizer for tokenizer in (pipe.tokenizer, pipe.tokenizer_2) if tokenizer is not None]
        cut = cut_off(prompt, [(tokenizer, tokenizer.model_max_length) for tokenizer in tokenizers])
        return Condition(torch.cat([empty, text]) if guided else text, extra, cut)

    def _inputs(self, condition: Condition) -> dict[str, Any]:
        added = {name: condition.extra[name] for name in ("text_embeds", "time_ids")}
        return {"timestep_cond": condition.extra.get("timestep_cond"), "added_cond_kwargs": added}


def _one_step(scheduler: Any) -> bool:
    return type(scheduler).__name__ in ONE_STEP and scheduler.config.timestep_spacing == "trailing"
