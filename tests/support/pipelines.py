"""Tiny random pipelines of the real diffusers classes, one builder for each family; 16x16 images in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from transformers import CLIPTokenizer, T5TokenizerFast

SIDE = 16
TOKENS = 8
"""Tokens of a prompt, with its two marks."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXT: dict[str, int] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
UNET: dict[str, Any] = {
    "sample_size": SIDE // 2,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}
BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def stable_diffusion(scheduler: Any = None, *, guidance_input: int | None = None, consistency: bool = False) -> Any:
    """Stable Diffusion, or a latent consistency model of it."""
    import torch
    from diffusers import DDIMScheduler, LatentConsistencyModelPipeline, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    size = 32 if consistency else guidance_input
    unet = UNet2DConditionModel(**UNET, cross_attention_dim=16, time_cond_proj_dim=size)
    kind = LatentConsistencyModelPipeline if consistency else StableDiffusionPipeline
    return ready(
        kind(
            vae=vae(4),
            text_encoder=clip(),
            tokenizer=clip_tokenizer(),
            unet=unet,
            scheduler=scheduler or DDIMScheduler(clip_sample=False, steps_offset=1, **BETAS),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def sdxl(scheduler: Any = None, **codec: Any) -> Any:
    """SDXL: two text encoders, of which the second projects."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        **UNET,
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    return ready(
        StableDiffusionXLPipeline(
            vae=vae(4, scaling_factor=0.13, **codec),
            text_encoder=clip(),
            text_encoder_2=clip(projection=True),
            tokenizer=clip_tokenizer(),
            tokenizer_2=clip_tokenizer(),
            unet=unet,
            scheduler=scheduler or EulerDiscreteScheduler(steps_offset=1, timestep_spacing="leading", **BETAS),
            add_watermarker=False,
        )
    )


def sd3(scheduler: Any = None) -> Any:
    """Stable Diffusion 3 with its T5 text encoder."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=SIDE // 2,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        out_channels=4,
        pos_embed_max_size=8,
    )
    return ready(
        StableDiffusion3Pipeline(
            vae=vae(4, scaling_factor=1.5, shift_factor=0.06),
            text_encoder=clip(projection=True),
            tokenizer=clip_tokenizer(),
            text_encoder_2=clip(projection=True),
            tokenizer_2=clip_tokenizer(),
            text_encoder_3=t5(),
            tokenizer_3=t5_tokenizer(),
            transformer=transformer,
            scheduler=scheduler or FlowMatchEulerDiscreteScheduler(shift=3.0),
        )
    )


def flux(scheduler: Any = None, *, guidance_input: bool = True) -> Any:
    """Flux, dev or schnell."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance_input,
    )
    made = FluxPipeline(
        vae=vae(4, scaling_factor=0.4, shift_factor=0.1),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=transformer,
        scheduler=scheduler or FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guidance_input),
    )
    made.default_sample_size = SIDE // 2
    return ready(made)


def ready(pipeline: Any) -> Any:
    """Silent, in evaluation mode, and with no weight that asks for a gradient."""
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if hasattr(part, "requires_grad_"):
            part.eval().requires_grad_(False)
    return pipeline


def vae(channels: int, **settings: Any) -> nn.Module:
    """An image codec of factor 2."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(1)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=SIDE,
        **settings,
    )


def clip(*, projection: bool = False) -> nn.Module:
    """A CLIP text encoder."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(2 + projection)
    tokenizer = clip_tokenizer()
    marks = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), max_position_embeddings=TOKENS, projection_dim=16, **TEXT, **marks
    )
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def clip_tokenizer() -> CLIPTokenizer:
    """One token for each letter."""
    from transformers import CLIPTokenizer

    tokens = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=[], model_max_length=TOKENS
    )


def t5() -> nn.Module:
    """A T5 text encoder."""
    import torch
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(5)
    return T5EncoderModel(T5Config(vocab_size=30, d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2))


def t5_tokenizer() -> T5TokenizerFast:
    """One token for each letter."""
    from transformers import T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), *((letter, -2.0) for letter in LETTERS)]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=64)
