"""Seeds of tiny pipelines, as a trial would record them, with the model as export knows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from seedbank.export.files import ModelFolder, read_model_folder
from seedbank.export.finds import FoundSeed
from seedbank.models import load_pipeline
from seedbank.models.card import ModelCard
from seedbank.selection.sampling.noise import plain_seed, stacked
from seedbank.selection.sampling.sampler import Sampler, default_config, make_sampler

PROMPT = "ab (c)"
CARD = ModelCard(name="tiny", source="folder", content="0" * 64)


@dataclass(frozen=True)
class Drawn:
    """A seed, and what drew it."""

    found: FoundSeed
    sampler: Sampler
    folder: ModelFolder

    @property
    def image(self) -> np.ndarray:
        """What our sampler draws of the seed, ``[H, W, 3]`` bytes."""
        return self.sampler.draw(stacked([self.found.seed]))[0]


def drawn(pipeline: Any, *, card: ModelCard = CARD, steps: int = 4, **changes: Any) -> Drawn:
    """A seed of ``pipeline``, which lies in no folder."""
    side = 8 * pipeline.vae_scale_factor
    usual = {"num_inference_steps": steps, "height": side, "width": side, "batch_size": 1}
    config = default_config(pipeline).model_copy(update={**usual, **changes})
    sampler = make_sampler(pipeline, PROMPT, config)
    found = FoundSeed(
        plain_seed("0", 3, sampler.noise_shape), PROMPT, card, sampler.config, "trial 0 of cog", "cog", False
    )
    index = {"_class_name": type(pipeline).__name__, **pipeline.config}
    return Drawn(found, sampler, ModelFolder(Path("nowhere"), index, named=False))


def drawn_from(folder: Path, pipeline: Any, **changes: Any) -> Drawn:
    """The same, saved in ``folder`` and loaded from there as the product does."""
    pipeline.save_pretrained(folder)
    loaded = load_pipeline(str(folder))
    made = drawn(loaded.pipeline, card=loaded.card, **changes)
    return Drawn(made.found, made.sampler, read_model_folder(folder, named=True))


def with_usual_codec(pipeline: Any, **settings: Any) -> Any:
    """The pipeline with a codec of factor 8; ``settings`` say how it is scaled."""
    torch.manual_seed(1)
    codec = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        **settings,
    )
    pipeline.register_modules(vae=codec.eval())
    pipeline.vae_scale_factor = 8
    pipeline.image_processor.register_to_config(vae_scale_factor=8)
    return pipeline
