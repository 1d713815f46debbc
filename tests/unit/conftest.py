"""Tiny random models of the real diffusers and transformers classes. Heavy imports happen only where a test asks for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from seedbank.models.card import ModelCard
from seedbank.selection.records import SamplerConfig

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTokenizer

    from seedbank.models import Embedder

SIDE = 16
TOKENS = 32
"""Of a prompt, one for each letter, with its two marks."""
CARD = ModelCard(name="tiny", source="test", content="0" * 64)
BuildPipeline = Callable[..., "StableDiffusionPipeline"]


@pytest.fixture(scope="session")
def build_pipeline() -> BuildPipeline:
    """Make a Stable Diffusion pipeline with random weights that draws 16x16 images in milliseconds."""
    return _pipeline


@pytest.fixture(scope="session")
def pipeline(build_pipeline: BuildPipeline) -> StableDiffusionPipeline:
    return build_pipeline()


@pytest.fixture(scope="session")
def sampler_config() -> SamplerConfig:
    return SamplerConfig(
        scheduler="DDIMScheduler", num_inference_steps=4, guidance_scale=3.0, height=SIDE, width=SIDE, dtype="float32"
    )


@pytest.fixture(scope="session")
def encoder() -> Embedder:
    """A tiny CLIP vision model."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPVisionConfig(image_size=SIDE, patch_size=4, projection_dim=8, **sizes)
    return _embedder(CLIPVisionModelWithProjection(config), "image_embeds")


@pytest.fixture(scope="session")
def guard() -> Embedder:
    """A tiny residual network."""
    import torch
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(2)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    return _embedder(ResNetModel(config), "pooler_output")


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    """Five noisy discs of different sizes."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    discs = [np.where(x**2 + y**2 < radius, 0.8, 0.2) for radius in (0.2, 0.3, 0.4, 0.5, 0.6)]
    noisy = [np.clip(disc[..., None] + rng.normal(0, 0.05, (24, 24, 3)), 0, 1) for disc in discs]
    return [Image.fromarray((255 * image).astype(np.uint8)) for image in noisy]


def _embedder(network: Any, output: str) -> Embedder:
    from seedbank.models.judges import Embedder, Network, Preprocess

    preprocess = Preprocess(SIDE, (0.5,) * 3, (0.5,) * 3)
    return Embedder((Network(network.eval().requires_grad_(False), output, preprocess, CARD),))


def _pipeline(prediction: str = "epsilon", **schedule: Any) -> StableDiffusionPipeline:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIDE // 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
    )
    tokenizer = _tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    marks = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=TOKENS, **sizes, **marks))
    options = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, **schedule}
    made = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(prediction_type=prediction, **options),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    for part in (unet, vae, text):
        part.eval().requires_grad_(False)
    return made


def _tokenizer() -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=[], model_max_length=TOKENS
    )
