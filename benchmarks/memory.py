"""What a search needs of a card's memory, by model: rehearsed on PyTorch's meta device, planned for cards of several sizes.

No card and no weights: the architectures' public configurations are built without numbers, the product's own sampler runs through them, and
the bytes alive are counted (:mod:`seedbank.selection.sampling.metering`). The judges are a CLIP ViT-L/14 and a DINOv2 base in float32.
On a card the same work is measured instead, so these figures say what to expect, not what is done.

Where they can be checked they hold: ``gpu_cost.md`` measured 4.7 GiB for each image of a batch of 16 with Stable Diffusion 1.5.

FLUX.1-schnell is among the models here; its rehearsal did not end within the quarter of an hour that it was given on a busy core, so the
results do not hold it.

    python benchmarks/memory.py        # writes results/memory.json and results/memory.md
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

import torch  # noqa: E402
from architectures import SD1, SD2, SDXL, VAE  # noqa: E402

from seedbank.selection.records import SamplerConfig  # noqa: E402
from seedbank.selection.sampling.families import Condition, adapt  # noqa: E402
from seedbank.selection.sampling.memory import GIB, Costs, MemoryPlan, Weights, gib, plan_memory  # noqa: E402
from seedbank.selection.sampling.metering import rehearse  # noqa: E402
from seedbank.selection.sampling.placement import size_of, weights_of  # noqa: E402
from seedbank.selection.sampling.sampler import Sampler  # noqa: E402
from seedbank.selection.sampling.schedules import make_schedule  # noqa: E402

VIEWS = 5
CARDS = (8, 12, 16, 24)
"""GB as they are sold; some 0.4 GB of each are the driver's."""
DRIVER = int(0.4 * GIB)

CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
T5_XXL = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
SD35: dict[str, Any] = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 384,
    "dual_attention_layers": tuple(range(13)),
    "qk_norm": "rms_norm",
}
FLUX: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": False,
}


@dataclass(frozen=True)
class Architecture:
    """A model by its configurations.

    Attributes:
        network: of the denoising network.
        side: of an image, in pixels.
        text: shape of the text states with all branches of guidance.
        extra: shapes of the network's further inputs.
        encoders: makes the text encoders, for their sizes.
    """

    pipeline: str
    network: dict[str, Any]
    side: int
    text: tuple[int, int, int]
    extra: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    encoders: tuple[tuple[str, dict[str, Any]], ...] = (("clip", CLIP_L),)
    codec: dict[str, Any] = field(default_factory=dict)
    steps: int = 20


XL_EXTRA = {"text_embeds": (2, 1280), "time_ids": (2, 6)}
SIXTEEN = {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
MODELS = {
    "SD 1.5": Architecture("StableDiffusionPipeline", SD1, 512, (2, 77, 768)),
    "SD 2.1": Architecture("StableDiffusionPipeline", SD2, 768, (2, 77, 1024), encoders=(("clip", CLIP_H),)),
    "SDXL": Architecture(
        "StableDiffusionXLPipeline", SDXL, 1024, (2, 77, 2048), XL_EXTRA, (("clip", CLIP_L), ("clip", CLIP_G))
    ),
    "SD 3.5 medium": Architecture(
        "StableDiffusion3Pipeline",
        SD35,
        1024,
        (2, 333, 4096),
        {"pooled_projections": (2, 2048)},
        (("clip", CLIP_L), ("clip", CLIP_G), ("t5", T5_XXL)),
        SIXTEEN,
    ),
    "FLUX.1-schnell": Architecture(
        "FluxPipeline",
        FLUX,
        1024,
        (1, 512, 4096),
        {"pooled_projections": (1, 768)},
        (("clip", CLIP_L), ("t5", T5_XXL)),
        SIXTEEN,
        4,
    ),
}


@dataclass(frozen=True)
class Row:
    """One model: bytes, and the plan for each card."""

    model: str
    side: int
    dtype: str
    weights: Weights
    costs: Costs
    plans: dict[int, MemoryPlan]


def main() -> None:
    """Rehearse and plan for every model, and write both files after each."""
    options = _options()
    rows: list[Row] = []
    for name in options.models:
        for dtype in (torch.bfloat16, torch.float16):
            rows.append(row(name, dtype))
            print(name, dtype, rows[-1].weights, rows[-1].costs, flush=True)
            write(rows, Path(options.out))
    print((Path(options.out) / "memory.md").read_text())


def row(name: str, dtype: torch.dtype) -> Row:
    """What ``name`` takes in ``dtype``."""
    made, judge, judges = MODELS[name], *_judges()
    pipeline = _pipeline(made, dtype)
    config = SamplerConfig(
        scheduler=type(pipeline.scheduler).__name__,
        num_inference_steps=made.steps,
        guidance_scale=5.0 if made.text[0] == 2 else 0.0,
        height=made.side,
        width=made.side,
        dtype=str(dtype).removeprefix("torch."),
    )
    extra = {key: torch.empty(*shape, dtype=dtype) for key, shape in made.extra.items()}
    family, condition = adapt(pipeline), Condition(torch.empty(*made.text, dtype=dtype), extra)
    # a schedule needs numbers, which the network's own device has not
    schedule = make_schedule(pipeline.scheduler, family.timing(made.steps, config), torch.device("cpu"))
    sampler = Sampler(family, condition, schedule, config, pipeline.scheduler)
    costs = rehearse(sampler, judge=judge, views=VIEWS)
    weights = weights_of(pipeline, judges=judges)
    text = sum(_text_encoder(kind, sizes) for kind, sizes in made.encoders)
    weights = Weights(weights.network, weights.codec, text, judges)
    plans = {card: plan_memory(weights, costs, int(card * 1e9) - DRIVER) for card in CARDS}
    return Row(name, made.side, config.dtype, weights, costs, plans)


def _pipeline(made: Architecture, dtype: torch.dtype) -> Any:
    import diffusers

    kinds: dict[str, tuple[str, Callable[..., Any], Any]] = {
        "StableDiffusionPipeline": ("unet", diffusers.UNet2DConditionModel, diffusers.DDIMScheduler),
        "StableDiffusionXLPipeline": ("unet", diffusers.UNet2DConditionModel, diffusers.EulerDiscreteScheduler),
        "StableDiffusion3Pipeline": (
            "transformer",
            diffusers.SD3Transformer2DModel,
            diffusers.FlowMatchEulerDiscreteScheduler,
        ),
        "FluxPipeline": ("transformer", diffusers.FluxTransformer2DModel, diffusers.FlowMatchEulerDiscreteScheduler),
    }
    part, network, scheduler = kinds[made.pipeline]
    upcast = made.pipeline == "StableDiffusionXLPipeline"
    with torch.device("meta"):
        parts = {
            part: network(**made.network),
            "vae": diffusers.AutoencoderKL(**(VAE | {"latent_channels": 4} | made.codec), force_upcast=upcast),
        }
    for module in parts.values():
        module.to(dtype).eval().requires_grad_(False)
    absent = dict.fromkeys(
        ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
    )
    bare = {"unet": parts.get("unet"), "transformer": parts.get("transformer")}
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    plain = {"clip_sample": False} if scheduler is diffusers.DDIMScheduler else {}
    own = scheduler() if part == "transformer" else scheduler(**betas, **plain)
    return type(made.pipeline, (), {**absent, **{k: v for k, v in bare.items() if v is not None}, "vae": parts["vae"],
                                    "vae_scale_factor": 8, "scheduler": own})()  # fmt: skip


def _judges() -> tuple[Callable[[torch.Tensor], torch.Tensor], int]:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

    from seedbank.models.card import ModelCard
    from seedbank.models.judges import Embedder, Preprocess

    vit = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    with torch.device("meta"):
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**vit, patch_size=14, projection_dim=768))
        dino = Dinov2Model(Dinov2Config(patch_size=14))
    for module in (clip, dino):
        module.eval().requires_grad_(False)
    card = ModelCard(name="ViT-L/14", source="rehearsal", content="0" * 64)
    embedder = Embedder(clip, "image_embeds", Preprocess(224, (0.5,) * 3, (0.5,) * 3), card)
    return embedder, size_of([clip, dino])


def _text_encoder(kind: str, sizes: dict[str, Any]) -> int:
    """Bytes in half precision."""
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    with torch.device("meta"):
        made = CLIPTextModel(CLIPTextConfig(**sizes)) if kind == "clip" else T5EncoderModel(T5Config(**sizes))
    return size_of([made]) // 2


def write(rows: list[Row], folder: Path) -> None:
    """Both files, whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    lines = [
        "Rehearsed on the meta device, measured on no card; GiB. `python benchmarks/memory.py`",
        "",
        "| model | side | precision | network | codec | text | judges | sample | gradient | gradient, recomputed | "
        + " | ".join(f"{card} GB" for card in CARDS)
        + " |",
        "|---" * (10 + len(CARDS)) + "|",
    ]
    lines += [_line(row) for row in rows]
    (folder / "memory.md").write_text("\n".join(lines) + "\n")


def _line(row: Row) -> str:
    costs = row.costs
    numbers = [getattr(row.weights, part) for part in ("network", "codec", "text_encoders", "judges")]
    numbers.append(max(costs.network.plain, costs.codec.plain))
    for network, codec in ((costs.network, costs.codec), (costs.network_recomputed, costs.codec_recomputed)):
        numbers.append(max(network.peak, network.held + max(codec.held + costs.views, codec.peak)))
    cells = [row.model, str(row.side), row.dtype, *(f"{number / GIB:.1f}" for number in numbers)]
    return "| " + " | ".join([*cells, *(_plan(plan) for plan in row.plans.values())]) + " |"


def _plan(plan: MemoryPlan) -> str:
    if not plan.fits:
        return f"no: {gib(plan.needed)}"
    measures = [
        words
        for on, words in (
            (plan.checkpointing, "recomputed"),
            (plan.offload == "model", "by turns"),
            (plan.vae_tiling, "tiles"),
            (plan.encode_at == "cpu", "prompt on CPU"),
        )
        if on
    ]
    return ", ".join([f"{plan.gradients} at once", *measures])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", default=str(Path(__file__).parent / "results"), help="folder of the two files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
