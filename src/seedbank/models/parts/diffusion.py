"""Stage 2, the diffusion model: a text encoder and a U-Net trained together on the latents of the long-tailed world.

v-prediction (Salimans & Ho, arXiv 2202.00512) on a cosine schedule rescaled to zero terminal signal (Lin et al., arXiv
2305.08891), one prompt in ten left empty for classifier-free guidance. The frequent kinds come out right from almost any seed;
the rare ones only from few, which is what seedbank is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from seedbank.models.parts import vae as codec
from seedbank.models.parts.data import tail_set
from seedbank.models.parts.loop import Budget, Trained, accelerator, averaged, fit, half_precision, recorded
from seedbank.models.parts.text import WIDTH, build_text_encoder, build_tokenizer
from seedbank.models.parts.world import CAPTIONS, KINDS

BUDGET = Budget(steps=5939, batch=512, rate=1e-3, warmup=400)
EMPTY_PROMPTS = 0.1
SNR_LIMIT = 8.0
SAMPLER: dict[str, float] = {"num_inference_steps": 10, "guidance_scale": 1.0, "height": 64, "width": 64}
"""How the shipped model is meant to be sampled; written to ``pipeline/seedbank.json``."""


@dataclass(frozen=True)
class Latents:
    """The long-tailed training set as latent Gaussians, scaled to unit variance, with the label of each."""

    means: Tensor
    deviations: Tensor
    labels: Tensor
    scaling_factor: float

    def draw(self, picked: Tensor, generator: torch.Generator) -> Tensor:
        """A latent sample for each of the picked images."""
        noise = torch.randn(self.means[picked].shape, generator=generator, device=self.means.device)
        return self.scaling_factor * (self.means[picked] + self.deviations[picked] * noise)

    def to(self, device: torch.device) -> Latents:
        """The same on `device`."""
        return Latents(self.means.to(device), self.deviations.to(device), self.labels.to(device), self.scaling_factor)


class Denoiser(nn.Module):
    """The U-Net as a training step calls it: tensors in, one tensor out."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, noised: Tensor, time: Tensor, prompts: Tensor) -> Tensor:
        """The predicted velocity, float32."""
        with half_precision(noised.device, recorded=True):
            predicted: Tensor = self.unet(noised, time, prompts, return_dict=False)[0]
        return predicted.float()


def scheduler() -> DDIMScheduler:
    """The noise schedule of training and the default sampler."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def build() -> nn.ModuleDict:
    """The untrained U-Net (5.6 M parameters) and text encoder (0.5 M)."""
    torch.manual_seed(BUDGET.seed)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=[2, 3, 4],
        norm_num_groups=32,
    )
    if accelerator().type == "cpu":
        unet.set_attn_processor(AttnProcessor())  # there the fused kernel's backward pass takes a quarter of the step
    text = build_text_encoder(build_tokenizer(), BUDGET.seed)
    text.set_attn_implementation("eager")
    return nn.ModuleDict({"unet": unet, "text": text})


def train(work: Path) -> Trained:
    """Train the U-Net and the text encoder on the finished codec's latents, or go on with it."""
    device = accelerator()
    latents, model = encode_world(work).to(device), build().to(device)
    captions = ["", *(caption.format(kind) for kind in KINDS for caption in CAPTIONS)]
    tokens = build_tokenizer()(captions, padding="max_length", return_tensors="pt").input_ids.to(device)
    noise = torch.zeros(BUDGET.batch, *latents.means.shape[1:], device=device)
    prompts = torch.zeros(BUDGET.batch, tokens.shape[1], WIDTH, device=device, requires_grad=True)
    denoiser = recorded(
        Denoiser(model["unet"]), (noise, torch.zeros(BUDGET.batch, dtype=torch.long, device=device), prompts)
    )
    alphas = scheduler().alphas_cumprod.to(device)

    def loss(generator: torch.Generator) -> Tensor:
        return _loss(model["text"], denoiser, latents, tokens, alphas, generator)

    return fit("unet", model, loss, BUDGET, work)


def latest(work: Path) -> Trained:
    """U-Net and text encoder with the averaged weights of the latest checkpoint."""
    return averaged("unet", build(), work)


def encode_world(work: Path) -> Latents:
    """The latents of the long-tailed training set, computed once per codec and kept in the work folder."""
    images, labels = tail_set(work / "data")
    kept = work / "data" / "latents.pt"
    if not kept.exists():
        torch.save(codec.encode(codec.latest(work).model, images), kept)
    means, deviations = torch.load(kept, weights_only=True)
    return Latents(means, deviations, torch.from_numpy(labels), round(float(1 / means.std()), 4))


def pipeline(
    vae: AutoencoderKL, unet: UNet2DConditionModel, text: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """The parts put together as diffusers knows them."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _loss(
    text: nn.Module, denoiser: nn.Module, latents: Latents, tokens: Tensor, alphas: Tensor, generator: torch.Generator
) -> Tensor:
    batch, device = BUDGET.batch, tokens.device
    picked = torch.randint(len(latents.labels), (batch,), generator=generator, device=device)
    clean = latents.draw(picked, generator)
    wording = torch.randint(len(CAPTIONS), (batch,), generator=generator, device=device)
    dropped = torch.rand(batch, generator=generator, device=device) < EMPTY_PROMPTS
    caption = torch.where(dropped, 0, 1 + latents.labels[picked] * len(CAPTIONS) + wording)

    time = torch.randint(len(alphas), (batch,), generator=generator, device=device)
    alpha = alphas[time].view(-1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=generator, device=device)
    noised = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean  # 2202.00512, appendix D

    with half_precision(device):
        prompts = text(tokens).last_hidden_state.float()
    error: Tensor = (denoiser(noised, time, prompts[caption]) - velocity).square().mean((1, 2, 3))
    weight = (SNR_LIMIT * (1 - alpha)).clamp(max=1).view(-1)  # min-SNR (2303.09556) for v: 1 / (1 - alpha) = SNR + 1
    return (weight * error).mean()
