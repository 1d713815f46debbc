"""A trial as ``seedbank optimise`` runs it, on random weights: what a search costs, which needs no training.

Builds a model folder with the architecture's own classes and configuration, judges, a profile, a concept and a frozen reference set in a
temporary bank, and calls ``trials.run.run_trial``: planned memory, text encoders put away, exploration, gradients, drawing, records. The
reference photos are what the model itself draws, so that the search goes on to its gradients. Used by ``gpu_cost.py``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

PHOTOS = 4
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PROMPT = "a cat"


@dataclass(frozen=True)
class Networks:
    """Configurations of all parts.

    Attributes:
        unet: of the denoising network.
        vae: of the codec.
        texts: of the text encoders; two make it SDXL.
        encoder: of the CLIP vision tower that is followed.
        guard: of the DINOv2 that accepts.
        tokens: of a prompt.
        side: of an image, in pixels.
        view: side in pixels of what the judges see.
        steps: of the sampler.
    """

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    texts: tuple[Mapping[str, Any], ...]
    encoder: Mapping[str, Any]
    guard: Mapping[str, Any]
    tokens: int
    side: int
    view: int
    steps: int


def searched(networks: Networks, folder: Path, *, preset: str, device: str) -> dict[str, Any]:
    """What a trial of ``preset`` took, by its own clock: seconds an iteration, images an hour, the card's peak."""
    from seedbank.bank import Bank
    from seedbank.concepts import Concept, Policy, SelectionPolicy
    from seedbank.settings import Settings
    from seedbank.trials.run import run_trial

    if not (folder / "models" / "random.yaml").is_file():
        write_models(networks, folder)
    settings = Settings.from_env(
        {"SEEDBANK_HOME": str(folder / "home"), "SEEDBANK_MODELS": str(folder / "models"), "SEEDBANK_DEVICE": device}
    )
    bank = Bank.open(settings)
    policy = Policy(selection=SelectionPolicy(candidates=2, plain=2))
    concept = Concept(name="random", prompt=PROMPT, owner="bench", model="random", preset=preset, policy=policy)
    references = _references(bank, concept, _pictures(bank, concept))
    on_card = torch.cuda.is_available() and device != "cpu"
    if on_card:
        torch.cuda.reset_peak_memory_stats()
    trial = run_trial(bank, concept, references, requested_by=("bench",))
    timing = json.loads(bank.store.get(f"{trial.folder}/timing.json"))
    found = _row(trial, timing["seconds"], len(networks.texts))
    if on_card:
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return found


def _row(trial: Any, seconds: dict[str, float], texts: int) -> dict[str, Any]:
    iterations, explored = trial.cost.iterations, trial.pool.size
    found: dict[str, Any] = {
        "seconds": round(sum(seconds.values()), 2),
        "model": "SDXL" if texts == 2 else "SD 1.5",
        "device": trial.software["device"],
        "dtype": trial.sampler.dtype,
        "explored": explored,
        "images_an_hour": round(3600 * explored / seconds["explore"]),
        "iterations": iterations,
        "network_evaluations": trial.cost.network_evaluations,
    }
    if iterations:
        found["seconds_an_iteration"] = round(seconds["optimise"] / iterations, 3)
    return found


def write_models(networks: Networks, folder: Path) -> None:
    """A pipeline, an encoder and a guard as folders, and the profile that names them."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    pipeline = _pipeline(networks)
    pipeline.save_pretrained(folder / "pipeline")
    judges = {
        "encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**networks.encoder)),
        "guard": Dinov2Model(Dinov2Config(**networks.guard)),
    }
    view = {"size": networks.view, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    for name, judge in judges.items():
        judge.save_pretrained(folder / name)
        (folder / name / "preprocessor_config.json").write_text(json.dumps(view))
    (folder / "models").mkdir(exist_ok=True)
    lines = [
        "name: random",
        *(f"{part}: {folder / part}" for part in ("pipeline", "encoder", "guard")),
        f"sampler: {{num_inference_steps: {networks.steps}, height: {networks.side}, width: {networks.side}}}",
    ]
    (folder / "models" / "random.yaml").write_text("\n".join(lines) + "\n")


def _pipeline(networks: Networks) -> Any:
    import diffusers

    two = len(networks.texts) == 2
    betas: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    parts: dict[str, Any] = {
        "vae": diffusers.AutoencoderKL(**networks.vae),
        "unet": diffusers.UNet2DConditionModel(**networks.unet),
        "text_encoder": _text_encoder(networks.texts[0], networks.tokens),
        "tokenizer": _tokenizer(networks.tokens),
    }
    # half of the bytes on disk; the precision of the profile decides what is computed in
    half = {name: part.to(torch.bfloat16) if hasattr(part, "to") else part for name, part in parts.items()}
    if two:
        second = _text_encoder(networks.texts[1], networks.tokens, projection=True)
        return diffusers.StableDiffusionXLPipeline(
            **half,
            text_encoder_2=second.to(torch.bfloat16),
            tokenizer_2=_tokenizer(networks.tokens),
            scheduler=diffusers.EulerDiscreteScheduler(steps_offset=1, timestep_spacing="leading", **betas),
            add_watermarker=False,
        )
    return diffusers.StableDiffusionPipeline(
        **half,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1, **betas),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _text_encoder(sizes: Mapping[str, Any], tokens: int, *, projection: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = _tokenizer(tokens)
    marks = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=tokens, **sizes, **marks)
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def _tokenizer(tokens: int) -> Any:
    """One token for each letter: what a prompt costs does not depend on which tokens it has."""
    from transformers import CLIPTokenizer

    vocabulary = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    numbers = {token: number for number, token in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=numbers, merges=[], model_max_length=tokens)


def _pictures(bank: Any, concept: Any) -> list[Any]:
    """What the model itself draws of other seeds."""
    from PIL import Image

    from seedbank.models.device import choose_device
    from seedbank.models.loading import load_model
    from seedbank.selection.sampling.noise import draws
    from seedbank.selection.sampling.sampler import make_sampler

    model = load_model(bank.profile(concept.model), device=choose_device(bank.settings.device))
    sampler = make_sampler(model.pipeline, concept.prompt, model.sampler)
    return [Image.fromarray(pixels) for pixels in sampler.draw(draws("photos", range(PHOTOS), sampler.noise_shape))]


def _references(bank: Any, concept: Any, pictures: list[Any]) -> Any:
    from seedbank.records import sha256
    from seedbank.references.records import Reference, ReferenceSet, Rights

    rights = Rights(
        licence="CC0-1.0",
        source="random",
        cleared_by="bench",
        cleared_on=date(2026, 1, 1),
        purpose=("synthetic-release",),
    )
    references = []
    for number, picture in enumerate(pictures):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        photo = sha256(buffer.getvalue())
        bank.store.put(f"working/{photo}.png", buffer.getvalue())
        width, height = picture.size
        references.append(
            Reference(
                photo=photo,
                concept=concept.name,
                name=f"{number}.png",
                working=photo,
                width=width,
                height=height,
                format="PNG",
                rights=rights,
            )
        )
    return ReferenceSet(
        concept=concept.name,
        concept_digest=concept.digest,
        references=tuple(references),
        assessments=(),
        measures={},
        validation="0" * 64,
    )
