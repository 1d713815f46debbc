"""What a search and a gradient on the noise cost on a GPU: the product's own trial, every gradient mode, and what makes it faster.

The architectures of Stable Diffusion 1.5 (512x512) and SDXL (1024x1024) with random weights (cost needs no training), 20 steps with
guidance. One run on one card, everything in it, for each model:

1. the card's matrix rate, and the U-Net's operations;
2. a trial as ``seedbank optimise`` runs it (``gpu_trial.py``), preset ``fast``: seconds an iteration, images an hour, peak memory;
3. ``seedselect_v1``: the full unroll in float32 as released (U-Net gradient checkpointing, three VAE decodes, three ViT-H/14 passes);
4. a plain sample and one iteration of each gradient mode in bfloat16, with one decode and one ViT-H/14 pass;
5. the largest batch that fits, and the share of the matrix rate that the U-Net then reaches;
6. before and after: fused attention, guidance in one batch, channels-last, compilation (with CUDA graphs, of all passes but the one
   that keeps its graph).

**State.** ``results/gpu_cost.*`` is of an earlier form of this program on an H200: Stable Diffusion 1.5 without rows 2, and its compilation
was cut off. In this form, with trials and with SDXL, it has run on a CPU in toy sizes and never on a card.

Writes ``gpu_cost.json`` and ``gpu_cost.md`` after every row, so that a run that is cut off loses nothing.

    python benchmarks/gpu_cost.py --seconds 900 --out $OUT
    python benchmarks/gpu_cost.py --models SDXL --seconds 500 --out $OUT
    python benchmarks/gpu_cost.py --tiny --device cpu --out /tmp/gpu_cost      # the same rows, toy sizes, in some minutes
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

START = time.monotonic()
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from architectures import SD1, SDXL, VAE  # noqa: E402
from gpu_trial import Networks, searched  # noqa: E402
from torch import Tensor  # noqa: E402

from seedbank.selection.records import SamplerConfig  # noqa: E402
from seedbank.selection.sampling.batches import BatchSizes, join  # noqa: E402
from seedbank.selection.sampling.families import Condition, StableDiffusion, StableDiffusionXL  # noqa: E402
from seedbank.selection.sampling.gradients import value_and_grad  # noqa: E402
from seedbank.selection.sampling.modes import Mode  # noqa: E402
from seedbank.selection.sampling.sampler import Sampler  # noqa: E402
from seedbank.selection.sampling.schedules import make_schedule  # noqa: E402

MakeFamily = Callable[[Any], StableDiffusion]
MODES = ("one_vjp@0.5", "last:3", "full")
SHARES = (0.05, 0.25, 0.70)
"""SeedSelect's weights of the last three latents."""
GIB = 2**30


@dataclass(frozen=True)
class Size:
    """The networks' configurations and how they are used."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    tower: dict[str, Any]
    side: int
    tokens: int
    width: int
    steps: int
    product: int
    """Side of the matrices that the card's rate is measured with."""
    batch: int
    """For before and after, beside one image."""
    most: int
    """The largest batch that is tried."""
    compiler: dict[str, str]
    """Options of ``torch.compile``; the toy sizes are only traced."""
    texts: tuple[dict[str, Any], ...]
    """The text encoders of the trial; two make it SDXL."""
    guard: dict[str, Any]
    """The trial's guard."""
    tower_of_trial: dict[str, Any]
    """The trial's encoder."""

    @property
    def extra(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what the network is given beside text states, both branches."""
        if len(self.texts) == 1:
            return {}
        return {"text_embeds": (2, self.texts[1]["projection_dim"]), "time_ids": (2, 6)}

    @property
    def family(self) -> MakeFamily:
        """The product's adapter for it."""
        return StableDiffusionXL if self.extra else StableDiffusion

    @property
    def networks(self) -> Networks:
        """For a trial."""
        return Networks(
            unet=self.unet,
            vae=self.vae,
            texts=self.texts,
            encoder=self.tower_of_trial,
            guard=self.guard,
            tokens=self.tokens,
            side=self.side,
            view=self.tower_of_trial["image_size"],
            steps=self.steps,
        )


CLIP_L = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "projection_dim": 768,
}  # fmt: skip
CLIP_G = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
    "projection_dim": 1280,
}  # fmt: skip
VIT_L = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "patch_size": 14, "image_size": 224, "projection_dim": 768,
}  # fmt: skip
DINOV2 = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "patch_size": 14, "image_size": 518}
TINY_TEXT = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 16,
}  # fmt: skip
TINY_TOWER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8,
    "image_size": 32, "projection_dim": 16,
}  # fmt: skip
REAL = Size(
    unet=SD1,
    vae=VAE | {"latent_channels": 4},
    tower={
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 224,
        "projection_dim": 1024,
    },
    side=512,
    tokens=77,
    width=768,
    steps=20,
    product=8192,
    batch=4,
    most=256,
    compiler={"mode": "reduce-overhead"},
    texts=(CLIP_L,),
    guard=DINOV2,
    tower_of_trial=VIT_L,
)
REAL_XL = replace(
    REAL,
    unet=SDXL,
    side=1024,
    width=2048,
    batch=2,
    most=32,
    texts=(CLIP_L, CLIP_G),
)
TINY = Size(
    unet={
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": 16,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    },
    vae={
        "block_out_channels": (16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "latent_channels": 4,
        "norm_num_groups": 8,
        "sample_size": 16,
    },
    tower={
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 8,
        "image_size": 32,
        "projection_dim": 16,
    },
    side=16,
    tokens=7,
    width=16,
    steps=6,
    product=256,
    batch=2,
    most=4,
    compiler={"backend": "eager"},
    texts=(TINY_TEXT,),
    guard={
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "patch_size": 8,
        "image_size": 32,
    },
    tower_of_trial=TINY_TOWER,
)
TINY_XL = replace(
    TINY,
    unet={
        **TINY.unet,
        "cross_attention_dim": 32,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 16,
    },
    width=32,
    texts=(TINY_TEXT, TINY_TEXT),
)
MODELS = {"SD 1.5": (REAL, TINY), "SDXL": (REAL_XL, TINY_XL)}
"""Real and toy sizes."""


@dataclass
class Report:
    """The rows so far, on disk after each."""

    folder: Path
    budget: float
    machine: dict[str, Any]
    model: str = ""
    until: float = 0.0
    """Seconds that the rows of the model may take together."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)

    def begin(self, model: str, seconds: float) -> None:
        """The rows of ``model``, which may take ``seconds`` together."""
        self.model, self.until, self._begun = model, seconds, time.monotonic()

    @property
    def left(self) -> float:
        """Seconds of the budget that are left, counted from the start of the program."""
        return self.budget - (time.monotonic() - START)

    def add(self, name: str, work: Callable[[], dict[str, Any]], *, needs: float = 2.0) -> dict[str, Any]:
        """Run ``work`` and keep what it measured, or why it could not; ``needs`` is the least time it is begun with."""
        row: dict[str, Any] = {"model": self.model, "name": name, "at": round(time.monotonic() - START, 1)}
        left = min(self.left, self.until - (time.monotonic() - self._begun))
        if left < needs:
            row["skipped"] = f"{left:.0f} s of the budget left, {needs:.0f} needed"
        else:
            try:
                row |= work()
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        self.write()
        tidy()
        return row

    def write(self) -> None:
        """Both files, whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        document = {"machine": self.machine, "seconds": round(time.monotonic() - START, 1), "rows": self.rows}
        (self.folder / "gpu_cost.json").write_text(json.dumps(document, indent=2) + "\n")
        (self.folder / "gpu_cost.md").write_text(self._table())

    def _table(self) -> str:
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        lines = [machine, "", "| model | what | seconds | peak GiB | more |", "|---|---|---|---|---|"]
        for row in self.rows:
            more = {
                key: value
                for key, value in row.items()
                if key not in ("model", "name", "at", "seconds", "peak_gib", "all")
            }
            text = ", ".join(f"{key} {value}" for key, value in more.items())
            lines.append(
                f"| {row['model']} | {row['name']} | {row.get('seconds', '')} | {row.get('peak_gib', '')} | {text} |"
            )
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Found:
    """What :func:`~seedbank.selection.sampling.gradients.value_and_grad` needs of an evaluation."""

    objective: Tensor
    cotangents: tuple[Tensor, ...]


@dataclass(frozen=True)
class Parts:
    """The networks and the function from images to a loss."""

    unet: Any
    vae: Any
    tower: Any
    goal: Tensor

    def cast(self, dtype: torch.dtype) -> Parts:
        """The same weights in another data type; these here are given up."""
        networks = (network.to(dtype) for network in (self.unet, self.vae, self.tower))
        return Parts(*networks, self.goal)

    def distance(self, images: Tensor) -> Tensor:
        """One minus the cosine of the tower's view to the goal, ``[B]``."""
        side = self.tower.config.image_size
        seen = F.interpolate(images.clamp(0, 1), (side, side), mode="bicubic").to(self.tower.dtype)
        return 1 - F.normalize(self.tower(seen).image_embeds.float(), dim=-1) @ self.goal


def main() -> None:
    """Run all rows that fit into the time."""
    options = _options()
    device = torch.device(_device(options))
    report = Report(Path(options.out), options.seconds, machine(device))
    for number, name in enumerate(options.models):
        # what is left is shared between the models that are left
        report.begin(name, report.left / (len(options.models) - number))
        of_model(report, MODELS[name][options.tiny], device, Path(options.work or tempfile.mkdtemp()) / name)
    report.write()
    print((report.folder / "gpu_cost.md").read_text())


def _device(options: argparse.Namespace) -> str:
    return str(options.device or ("cuda" if torch.cuda.is_available() and not options.tiny else "cpu"))


def of_model(report: Report, size: Size, device: torch.device, work: Path) -> None:
    """All rows of one model."""
    torch.manual_seed(0)
    rate = report.add("matrix rate, bfloat16", lambda: matrix_rate(size, device)).get("tflops", 0.0)
    trial = partial(searched, size.networks, work, preset="fast", device=str(device))
    report.add("seedbank optimise, preset fast", trial, needs=60)
    forget_models()
    parts: list[Parts] = []
    report.add("build the networks", lambda: {"seconds": timed(lambda: parts.append(build(size, device)), device)})
    if not parts:
        return
    flops = report.add("U-Net, one image with guidance", lambda: count(size, parts[0], device)).get("tflop", 0.0)
    old = report.add("seedselect_v1 full unroll, float32", lambda: seedselect(size, parts[0], device), needs=20)
    fast = parts.pop().cast(torch.bfloat16)
    tidy()
    sampler = make(size, fast, device)
    plain = report.add("plain sample, bfloat16", lambda: draw(sampler, fast, 1, device))
    for mode in MODES:
        report.add(f"{mode}, bfloat16", lambda mode=mode: iterate(sampler, fast, mode, 1, device, (old, plain)))
    report.add(
        "largest batch of one_vjp@0.5, objective on all at once",
        lambda: largest(size, sampler, fast, device, 0, flops, rate),
        needs=12,
    )
    before_and_after(report, size, fast, device, flops, rate)
    report.add(
        "largest batch of one_vjp@0.5, objective by fours",
        lambda: largest(size, sampler, fast, device, 4, flops, rate),
        needs=15,
    )
    compilation(report, size, fast, device, flops, rate)


def forget_models() -> None:
    """Let go of the pipeline that the trial's process keeps for the next one."""
    from seedbank.models import pipelines

    pipelines._loaded.cache_clear()
    tidy()


def build(size: Size, device: torch.device) -> Parts:
    """Random networks in float32, made on the device itself."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    with torch.device(device):
        networks = (
            UNet2DConditionModel(**size.unet),
            AutoencoderKL(**size.vae),
            CLIPVisionModelWithProjection(CLIPVisionConfig(**size.tower)),
        )
        goal = F.normalize(torch.randn(size.tower["projection_dim"]), dim=0)
    return Parts(*(network.eval().requires_grad_(False) for network in networks), goal)


def make(size: Size, parts: Parts, device: torch.device, family: MakeFamily | None = None) -> Sampler:
    """The product's sampler over these networks, with random text states."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1,
        set_alpha_to_one=False,
    )  # fmt: skip
    factor = 2 ** (len(parts.vae.config.block_out_channels) - 1)
    pipeline = SimpleNamespace(unet=parts.unet, vae=parts.vae, vae_scale_factor=factor, scheduler=scheduler)
    config = SamplerConfig(
        scheduler="DDIMScheduler",
        num_inference_steps=size.steps,
        guidance_scale=7.5,
        height=size.side,
        width=size.side,
        dtype=str(parts.unet.dtype).removeprefix("torch."),
    )
    text = torch.randn(2, size.tokens, size.width, generator=torch.Generator().manual_seed(1))
    schedule = make_schedule(scheduler, {"num_inference_steps": size.steps}, device)
    extra = {name: torch.randn(*shape).to(device, parts.unet.dtype) for name, shape in size.extra.items()}
    condition = Condition(text.to(device, parts.unet.dtype), extra)
    return Sampler((family or size.family)(pipeline), condition, schedule, config, scheduler)


@dataclass(frozen=True)
class TwoCalls(StableDiffusion):
    """Guidance with one call of the network for each branch."""

    inner: Any = None

    def predict(self, latents: Tensor, timestep: Tensor, condition: Condition, guidance_scale: float) -> Tensor:
        """As the family's, one branch after the other."""
        without, with_text = (
            self.inner.predict(latents, timestep, branch(condition, row), 1.0) for row in range(len(condition))
        )
        return without + guidance_scale * (with_text - without)


def branch(condition: Condition, row: int) -> Condition:
    """One row of it alone."""
    extra = {name: values[row : row + 1] for name, values in condition.extra.items()}
    return replace(condition, text=condition.text[row : row + 1], extra=extra)


def two_calls(size: Size) -> MakeFamily:
    """The size's family with :class:`TwoCalls`."""
    return lambda pipeline: TwoCalls(pipeline, size.family(pipeline))


def compiled_family(size: Size, graph: Any) -> MakeFamily:
    """The size's family whose network is compiled where no gradient is wanted: all steps but one of a one_vjp."""
    kind = CompiledXL if size.extra else Compiled
    return partial(kind, graph=graph)


@dataclass(frozen=True)
class Compiled(StableDiffusion):
    """A compiled network where no gradient is wanted: all steps but one of a one_vjp. It saves the compilation of a second graph."""

    graph: Any = None

    @property
    def network(self) -> Any:
        """The U-Net, compiled or as it is."""
        return self.pipeline.unet if torch.is_grad_enabled() else _Called(self.pipeline.unet, self.graph)


@dataclass(frozen=True)
class CompiledXL(StableDiffusionXL):
    """The same for SDXL."""

    graph: Any = None

    @property
    def network(self) -> Any:
        """The U-Net, compiled or as it is."""
        return self.pipeline.unet if torch.is_grad_enabled() else _Called(self.pipeline.unet, self.graph)


class _Called:
    """A module that is called through its compiled form and else looks like itself."""

    def __init__(self, module: Any, graph: Any) -> None:
        self.module, self.graph = module, graph

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.graph(*arguments, **named)


def objective(sampler: Sampler, parts: Parts, piece: int = 0) -> Callable[[Sequence[Tensor]], Found]:
    """Decode and look once, with the gradient at the final latents; ``piece`` images at a time where it is not 0."""

    @torch.enable_grad()
    def some(final: Tensor) -> Found:
        leaf = final.detach().requires_grad_()
        value = parts.distance(sampler.family.decode(leaf))
        return Found(value.detach(), torch.autograd.grad(value.sum(), leaf))

    def evaluate(last_latents: Sequence[Tensor]) -> Found:
        final = last_latents[-1]
        width = piece or len(final)
        return join([some(final[first : first + width]) for first in range(0, len(final), width)])

    return evaluate


def seedselect(size: Size, parts: Parts, device: torch.device) -> dict[str, Any]:
    """One iteration as released: one graph through all steps, the U-Net's blocks checkpointed, everything in float32."""
    sampler = make(size, parts, device)
    parts.unet.enable_gradient_checkpointing()
    parts.unet.train()  # older diffusers checkpoints only then; there is no dropout in it
    noise = draw_noise(sampler, 1).to(device).requires_grad_()
    optimiser = torch.optim.AdamW([noise], lr=0.1)
    mean = torch.zeros_like(noise)

    def once() -> None:
        last = list(sampler.denoise_steps(noise))[-len(SHARES) :]
        pairs = zip(SHARES, last, strict=True)
        semantic = torch.stack([share * parts.distance(sampler.family.decode(x)) for share, x in pairs]).sum()
        loss = 10 * semantic + (last[-1] - mean).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    try:
        return measured(once, device, repeats=2) | {"batch": 1}
    finally:
        parts.unet.disable_gradient_checkpointing()
        parts.unet.eval()


def draw(sampler: Sampler, parts: Parts, batch: int, device: torch.device) -> dict[str, Any]:
    """All steps and the decoding, without gradients."""
    noise = draw_noise(sampler, batch)

    @torch.no_grad()
    def once() -> None:
        sampler.family.decode(sampler.denoise(noise))

    return measured(once, device) | {"batch": batch}


def iterate(
    sampler: Sampler, parts: Parts, mode: str, batch: int, device: torch.device, others: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """One gradient, with how it compares to the full unroll and to a plain sample."""
    noise, evaluate = draw_noise(sampler, batch), objective(sampler, parts)
    row = measured(lambda: value_and_grad(sampler, noise, evaluate, Mode.parse(mode)), device) | {"batch": batch}  # type: ignore[arg-type]
    for name, other in zip(("times_faster_than_seedselect", "times_a_plain_sample"), others, strict=True):
        if "seconds" in other:
            pair = (other["seconds"], row["seconds"])
            row[name] = round(pair[0] / pair[1] if "faster" in name else pair[1] / pair[0], 2)
    return row


def largest(
    size: Size, sampler: Sampler, parts: Parts, device: torch.device, piece: int, flops: float, rate: float
) -> dict[str, Any]:
    """The largest batch whose one_vjp runs in one piece (by doubling, in two steps: memory does not depend on their number)."""
    evaluate, batch = objective(sampler, parts, piece), 1
    while 2 * batch <= size.most and _fits(sampler.with_steps(2), evaluate, 2 * batch):
        batch *= 2
    tidy()
    whole = replace(sampler, batch_sizes=BatchSizes())
    noise = draw_noise(whole, batch)
    row = measured(lambda: value_and_grad(whole, noise, evaluate, Mode.parse("one_vjp@0.5")), device, repeats=1)  # type: ignore[arg-type]
    evaluations = size.steps + 2  # of the U-Net with guidance: all steps, and a backward pass that counts for two
    row |= {"batch": batch, "seconds_per_image": round(row["seconds"] / batch, 4)}
    if rate:
        row["share_of_matrix_rate"] = round(evaluations * flops * batch / row["seconds"] / rate, 3)
    with torch.no_grad():
        alone = measured(lambda: whole.predict(noise.to(device), whole.steps[0]), device)["seconds"]
    if rate:
        row["unet_share_of_matrix_rate"] = round(flops * batch / alone / rate, 3)
    return row


def _fits(sampler: Sampler, evaluate: Callable[[Sequence[Tensor]], Found], batch: int) -> bool:
    value_and_grad(sampler, draw_noise(sampler, batch), evaluate, Mode.parse("one_vjp@0.5"))  # type: ignore[arg-type]
    return not sampler.batch_sizes.largest


def before_and_after(report: Report, size: Size, parts: Parts, device: torch.device, flops: float, rate: float) -> None:
    """One change after another, each kept for the next, on one image and on a few."""
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    def row(family: MakeFamily | None = None) -> dict[str, Any]:
        return costs(size, parts, device, family, (1, size.batch), flops, rate)

    def unfused() -> dict[str, Any]:
        parts.unet.set_attn_processor(AttnProcessor())
        try:
            return row(two_calls(size))
        finally:
            parts.unet.set_attn_processor(AttnProcessor2_0())

    def channels_last() -> dict[str, Any]:
        for network in (parts.unet, parts.vae):
            network.to(memory_format=torch.channels_last)
        return row()

    report.add("attention unfused, guidance in two calls", unfused, needs=12)
    report.add("+ fused attention", lambda: row(two_calls(size)), needs=12)
    report.add("+ guidance in one batch (the product)", row, needs=12)
    report.add("+ channels-last", channels_last, needs=12)


def compilation(report: Report, size: Size, parts: Parts, device: torch.device, flops: float, rate: float) -> None:
    """The last change; it comes at the end because compiling takes a minute."""

    def compiled(batch: int) -> dict[str, Any]:
        family = compiled_family(size, torch.compile(parts.unet, dynamic=False, **size.compiler))
        sampler = make(size, parts, device, family)
        spent = timed(lambda: sampler.with_steps(2).denoise(draw_noise(sampler, batch)), device)
        return {"seconds_to_compile": spent} | costs(size, parts, device, family, (batch,), flops, rate)

    for batch in (1, size.batch):
        name = f"+ torch.compile of the passes without gradient, batch {batch}"
        report.add(name, lambda batch=batch: compiled(batch), needs=60)


def costs(
    size: Size,
    parts: Parts,
    device: torch.device,
    family: MakeFamily | None,
    batches: Sequence[int],
    flops: float,
    rate: float,
) -> dict[str, Any]:
    """One evaluation of the U-Net, and one iteration, for each size of batch."""
    found: dict[str, Any] = {}
    for batch in batches:
        sampler = make(size, parts, device, family)
        latents = sampler.initial_state(draw_noise(sampler, batch)).latents
        with torch.no_grad():
            step = measured(partial(sampler.predict, latents, sampler.steps[0]), device, repeats=5)["seconds"]
        work = partial(
            value_and_grad, sampler, draw_noise(sampler, batch), objective(sampler, parts), Mode.parse("one_vjp@0.5")
        )
        found[f"unet_ms_batch_{batch}"] = round(1000 * step, 2)
        found[f"one_vjp_seconds_batch_{batch}"] = measured(work, device)["seconds"]
        if rate:
            found[f"unet_share_batch_{batch}"] = round(flops * batch / step / rate, 3)
    return found


def matrix_rate(size: Size, device: torch.device) -> dict[str, Any]:
    """TFLOP/s of a large bfloat16 matrix product on random data."""
    side = size.product
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = measured(lambda: left @ right, device, repeats=10)["seconds"]
    return {"seconds": seconds, "side": side, "tflops": round(2 * side**3 / seconds / 1e12, 3)}


def count(size: Size, parts: Parts, device: torch.device) -> dict[str, Any]:
    """Operations of one guided evaluation (two branches) of one image, and parameters."""
    from torch.utils.flop_counter import FlopCounterMode

    sampler = make(size, parts, device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        sampler.predict(sampler.initial_state(draw_noise(sampler, 1)).latents, sampler.steps[0])
    millions = sum(weight.numel() for weight in parts.unet.parameters()) / 1e6
    return {"tflop": counter.get_total_flops() / 1e12, "unet_million_parameters": round(millions, 1)}


def draw_noise(sampler: Sampler, batch: int) -> Tensor:
    """The same seeds each time."""
    return torch.randn(batch, *sampler.noise_shape, generator=torch.Generator().manual_seed(0))


def measured(work: Callable[[], Any], device: torch.device, repeats: int = 2) -> dict[str, Any]:
    """Median seconds after one warm-up, all of them, and the peak of the device's memory."""
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    every = [timed(work, device) for _ in range(repeats)]
    found: dict[str, Any] = {"seconds": round(statistics.median(every), 6), "all": every}
    if device.type == "cuda":
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
    return found


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call, with the device's queue empty before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return round(time.perf_counter() - begun, 6)


def tidy() -> None:
    """Give back what the last row held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers were measured on."""
    import diffusers
    import transformers

    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    versions = {
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
    return {"card": card, **versions}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=900, help="rows that would not fit into this are skipped")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results"), help="folder of the two files")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--device", default="", help="default: the card, and the CPU for --tiny")
    parser.add_argument("--work", default="", help="folder of the trials' models and banks; default a temporary one")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that every row runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
