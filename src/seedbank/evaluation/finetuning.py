"""Two fine-tunings to compare with: Textual Inversion and LoRA. Both work on a copy; the pipeline given is never changed.

Where seeds are chosen for each image, fine-tuning is paid once for a concept. Both minimise the denoising loss of the model itself on the
reference photos, ``E |target - network(√ᾱ x + √(1 - ᾱ) ε, t, prompt)|²``, with the target the model was trained for (ε or velocity).

* *Textual Inversion* (Gal et al., arXiv 2208.01618) trains the embedding of one new word.
* *LoRA* (Hu et al., arXiv 2106.09685) trains low-rank additions to the U-Net's attention, through peft.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seedbank.errors import UsageError
from seedbank.selection.sampling.families import StableDiffusion
from seedbank.selection.sampling.noise import integer

NEW_WORD = "<concept>"
BACKWARD = 2
"""A backward pass is counted as so many evaluations of the network."""


@dataclass(frozen=True)
class Training:
    """How long and how fast.

    Attributes:
        steps: updates at most.
        batch: noised references in one update.
        rate: of Adam.
        rank: of LoRA's additions.
        seed: what noise, times and the choice of references derive from.
    """

    steps: int
    batch: int = 4
    rate: float = 5e-4
    rank: int = 4
    seed: str = "0"


TEXTUAL_INVERSION = Training(steps=3000, rate=5e-4)
"""The usual settings of Textual Inversion."""
LORA = Training(steps=500, rate=1e-4, rank=4)
"""The usual settings of LoRA."""
SMALL_INVERSION, SMALL_LORA = Training(steps=3000, batch=8, rate=5e-3), Training(steps=2000, batch=8, rate=2e-3, rank=8)
"""For a model of a few million parameters: higher rates, and as many steps as the budget allows."""


@dataclass(frozen=True)
class FineTuned:
    """A copy that was trained, and what that cost.

    Attributes:
        pipeline: shares with the original all networks that were not trained.
        prompt: what to ask the copy for.
        losses: of each update, on its own noise.
        network_evaluations: evaluations of the denoising network, one image and one conditioning each.
        seconds: of training.
    """

    pipeline: Any
    prompt: str
    losses: tuple[float, ...]
    network_evaluations: int
    seconds: float


Affords = Callable[[int], bool]
"""Whether so many more network evaluations may be spent."""


def textual_inversion(
    pipeline: Any,
    prompt: str,
    references: Tensor,
    training: Training = TEXTUAL_INVERSION,
    *,
    word: str = "",
    affords: Affords = lambda _cost: True,
) -> FineTuned:
    """A copy that knows a new word for what ``references`` ``[K, 3, H, W]`` (in 0..1) show.

    Args:
        pipeline: a Stable Diffusion pipeline.
        prompt: what the concept is asked for with.
        references: the photos.
        training: how long and how fast.
        word: the part of ``prompt`` that the new word starts as and replaces; default its last word.
        affords: asked before each update.

    Raises:
        UsageError: ``word`` is not in the prompt, or the tokenizer knows the new word already.
    """
    word = word or prompt.split()[-1]
    tokenizer, encoder = deepcopy(pipeline.tokenizer), deepcopy(pipeline.text_encoder)
    if word not in prompt:
        raise UsageError(f"expected a word of the prompt {prompt!r} to replace, got {word!r}")
    known = tokenizer(word, add_special_tokens=False).input_ids
    if tokenizer.add_tokens([NEW_WORD]) != 1:
        raise UsageError(
            f"expected a tokenizer without {NEW_WORD!r}, got one that was inverted already; give the original"
        )
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    embeddings = encoder.get_input_embeddings()
    frozen = embeddings.weight.detach().clone()
    learnt = frozen[known].mean(0, keepdim=True).requires_grad_()
    place = next(name for name, module in encoder.named_modules() if module is embeddings) + ".weight"
    before, _, after = prompt.rpartition(word)
    asked = f"{before}{NEW_WORD}{after}"
    tokens = _tokens(tokenizer, asked, encoder.device)

    def condition() -> Tensor:
        table = torch.cat([frozen[:-1], learnt])
        hidden: Tensor = torch.func.functional_call(encoder, {place: table}, (tokens,))[0]
        return hidden

    losses, cost, seconds = _train(pipeline, references, condition, [learnt], training, affords)
    with torch.no_grad():
        embeddings.weight[-1] = learnt[0]
    encoder.eval().requires_grad_(False)
    return FineTuned(_with(pipeline, tokenizer=tokenizer, text_encoder=encoder), asked, losses, cost, seconds)


def lora(
    pipeline: Any,
    prompt: str,
    references: Tensor,
    training: Training = LORA,
    *,
    affords: Affords = lambda _cost: True,
) -> FineTuned:
    """A copy whose U-Net has low-rank additions to its attention, trained to draw ``references`` for ``prompt``.

    Args are those of :func:`textual_inversion`.
    """
    from peft import LoraConfig, inject_adapter_in_model

    unet = deepcopy(pipeline.unet).requires_grad_(False)
    config = LoraConfig(
        r=training.rank,
        lora_alpha=training.rank,
        init_lora_weights="gaussian",
        target_modules=["to_q", "to_k", "to_v", "to_out.0"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(int(integer(training.seed, 0)) % 2**63)
        inject_adapter_in_model(config, unet)
    learnt = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    made = _with(pipeline, unet=unet)
    with torch.no_grad():
        hidden = _condition(made, prompt)
    losses, cost, seconds = _train(made, references, lambda: hidden, learnt, training, affords)
    unet.eval().requires_grad_(False)
    return FineTuned(made, prompt, losses, cost, seconds)


@torch.no_grad()
def reference_loss(pipeline: Any, prompt: str, references: Tensor, *, draws: int = 8, seed: str = "check") -> float:
    """The denoising loss on ``references``, over ``draws`` noises of each that depend on ``seed`` only."""
    generator = _generator(seed)
    clean = StableDiffusion(pipeline).encode(references.to(pipeline.unet.device)).repeat(draws, 1, 1, 1)
    return float(_loss(pipeline, clean, _condition(pipeline, prompt), generator))


def _train(
    pipeline: Any,
    references: Tensor,
    condition: Callable[[], Tensor],
    learnt: list[Tensor],
    training: Training,
    affords: Affords,
) -> tuple[tuple[float, ...], int, float]:
    """Adam on ``learnt``; losses, network evaluations and seconds."""
    generator, each = _generator(training.seed), (1 + BACKWARD) * training.batch
    clean = StableDiffusion(pipeline).encode(references.to(pipeline.unet.device)).detach()
    optimiser = torch.optim.Adam(learnt, lr=training.rate)
    losses: list[float] = []
    start = time.perf_counter()
    while len(losses) < training.steps and affords(each):
        picked = torch.randint(len(clean), (training.batch,), generator=generator)
        with torch.enable_grad():
            loss = _loss(pipeline, clean[picked.to(clean.device)], condition(), generator)
            gradients = torch.autograd.grad(loss, learnt)
        for parameter, gradient in zip(learnt, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
        losses.append(float(loss.detach()))
    return tuple(losses), each * len(losses), time.perf_counter() - start


def _loss(pipeline: Any, clean: Tensor, hidden: Tensor, generator: torch.Generator) -> Tensor:
    """The mean squared error of the network on ``clean`` latents at random times, all noise drawn on the CPU."""
    scheduler, unet, device = pipeline.scheduler, pipeline.unet, clean.device
    alphas = scheduler.alphas_cumprod
    times = torch.randint(len(alphas), (len(clean),), generator=generator)
    noise = torch.randn(clean.shape, generator=generator).to(device)
    alpha = alphas[times].view(-1, 1, 1, 1).to(device)
    noised = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    prompts = hidden.expand(len(clean), -1, -1).to(unet.dtype)
    output = unet(noised.to(unet.dtype), times.to(device), prompts, return_dict=False)[0].float()
    target = _target(scheduler.config.prediction_type, clean, noise, alpha)
    return torch.as_tensor((output - target).square().mean())


def _target(prediction: str, clean: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """What the network should say: noise, velocity (Salimans & Ho, arXiv 2202.00512) or the clean sample."""
    if prediction == "epsilon":
        return noise
    if prediction == "v_prediction":
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
    return clean


def _condition(pipeline: Any, prompt: str) -> Tensor:
    encoder = pipeline.text_encoder
    hidden: Tensor = encoder(_tokens(pipeline.tokenizer, prompt, encoder.device))[0]
    return hidden


def _tokens(tokenizer: Any, prompt: str, device: torch.device) -> Tensor:
    options = {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True}
    tokens: Tensor = tokenizer(prompt, return_tensors="pt", **options).input_ids.to(device)
    return tokens


def _with(pipeline: Any, **parts: Any) -> Any:
    """A pipeline of the same class with some parts exchanged and all others shared."""
    made = type(pipeline)(**{**pipeline.components, **parts}, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def _generator(seed: str) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(int(integer(seed, 0)) % 2**63)


def shortened(training: Training, network_evaluations: int) -> Training:
    """``training`` with as many steps as ``network_evaluations`` allow, at most its own."""
    return replace(training, steps=min(training.steps, network_evaluations // ((1 + BACKWARD) * training.batch)))
