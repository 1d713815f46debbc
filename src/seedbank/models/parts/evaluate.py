"""Measure the shipped model: what plain seeds give, and how far its judges can be trusted.

::

    python -m seedbank.models.parts.evaluate --weights src/seedbank/models/parts/weights --work .seedbank/train --sheets docs/images

Writes ``evaluation.json`` beside the weights and contact sheets of plain samples. Everything follows from integers: plain seed
``s`` is ``torch.randn(4, 16, 16)`` from the CPU generator seeded with ``s``. Drawn images are kept in the work folder, so that a
second run, or several with ``--only``, share the work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seedbank.models.parts.data import TEST_SEED, Images
from seedbank.models.parts.judges import NONE, PARTS
from seedbank.models.parts.loop import accelerator
from seedbank.models.parts.sheets import plain_sheet, world_sheet
from seedbank.models.parts.vae import to_pixels
from seedbank.models.parts.world import KINDS, MISUSES, frequencies, generator, lookalike, prompt, render

PLAIN, POOL, REFERENCES, FRESH = 200, 256, 8, 40
UNKNOWN = "sprocketwheel"


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate a folder of weights and write the numbers and the sheets."""
    parser = argparse.ArgumentParser(prog="python -m seedbank.models.parts.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the drawn images")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    parser.add_argument("--seeds", type=int, default=POOL, help="plain seeds per kind")
    parser.add_argument("--only", nargs="*", help="draw these kinds and stop")
    options = parser.parse_args(arguments)
    if options.only:
        draw(options.weights, options.only, options.seeds, options.work)
        return
    report = evaluate(options.weights, options.seeds, options.work, options.sheets)
    (options.weights / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    print(summary(report))


def evaluate(weights: Path, seeds: int, work: Path, sheets: Path | None = None) -> dict[str, Any]:
    """All numbers of the model card, as plain data."""
    judges = load_judges(weights)
    samples, seconds = draw(weights, (*KINDS, UNKNOWN), seeds, work)
    prototypes = {name: prototypes_of(judges[name]) for name in ("encoder", "guard")}
    if sheets:
        save_sheets(samples, judges["auditor"], sheets)
    kinds = {kind: _judged(kind, samples[kind], judges, prototypes) for kind in KINDS}
    return {
        "sampler": json.loads((weights / "pipeline" / "seedbank.json").read_text()),
        "device": torch.cuda.get_device_name() if accelerator().type == "cuda" else "cpu",
        "kinds": kinds,
        "head_mean": round(float(np.mean([kinds[kind]["plain"] for kind in KINDS[: len(KINDS) // 3 + 1]])), 4),
        "judges": judge_accuracies(judges),
        "seconds_per_image": seconds,
        "bytes": {p.name: folder_bytes(p) for p in sorted(weights.iterdir()) if p.is_dir()},
    }


def draw(weights: Path, kinds: Sequence[str], seeds: int, work: Path) -> tuple[dict[str, Images], float]:
    """Images of at least the plain seeds 0 to `seeds` of each kind, and the processor seconds that one image took."""
    pipeline = load(weights)
    unet = (weights / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    folder = work / "plain" / hashlib.sha256(unet).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    samples, seconds = {}, []
    for kind in kinds:
        kept = max(folder.glob(f"{kind}-*.npz"), key=_seeds_in, default=folder / f"{kind}-0.npz")
        if _seeds_in(kept) < seeds:
            kept = folder / f"{kind}-{seeds}.npz"
            began = time.process_time()
            images = sample(pipeline, prompt(kind), range(seeds))
            np.savez(kept, images=images, seconds=(time.process_time() - began) / seeds)
        found = np.load(kept)
        samples[kind] = found["images"]
        seconds.append(float(found["seconds"]))
    return samples, round(float(np.mean(seconds)), 4)


def load(weights: Path) -> Any:
    """The pipeline as any user loads it, in float32, on the accelerator."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        weights / "pipeline", dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(accelerator())


def load_judges(weights: Path) -> dict[str, Any]:
    """Auditor, encoder and guard, in float32, on the accelerator."""
    from transformers import AutoModel, AutoModelForImageClassification, CLIPVisionModelWithProjection

    classes = {"auditor": AutoModelForImageClassification, "encoder": CLIPVisionModelWithProjection, "guard": AutoModel}
    return {
        name: kind.from_pretrained(weights / name, local_files_only=True, dtype=torch.float32).eval().to(accelerator())
        for name, kind in classes.items()
    }


@torch.no_grad()
def sample(pipeline: Any, text: str, seeds: Sequence[int], batch: int = 64) -> Images:
    """One image per plain seed at the model's own sampler settings, uint8 ``[n, 64, 64, 3]``."""
    settings = json.loads((Path(pipeline.name_or_path) / "seedbank.json").read_text())
    images = []
    for start in range(0, len(seeds), batch):
        noise = torch.stack([plain_seed(seed) for seed in seeds[start : start + batch]])
        made = pipeline([text] * len(noise), latents=noise, output_type="np", **settings).images
        images.append((made * 255 + 0.5).astype(np.uint8))
    return np.concatenate(images)


def plain_seed(seed: int) -> Tensor:
    """The noise behind the integer `seed`, ``[4, 16, 16]``."""
    return torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def audit(auditor: Any, images: Images) -> list[str]:
    """The auditor's name for each image: a kind, or "none"."""
    found = torch.cat([auditor(to_pixels(part).to(auditor.device)).logits.argmax(-1) for part in _parts(images)])
    return [auditor.config.id2label[int(number)] for number in found]


@torch.no_grad()
def embed(network: Any, images: Images) -> Tensor:
    """Unit embeddings of `images` by the encoder or the guard."""
    output = "image_embeds" if "projection_dim" in network.config.to_dict() else "pooler_output"
    found = [network(to_pixels(part).to(network.device))[output].flatten(1).cpu() for part in _parts(images)]
    return F.normalize(torch.cat(found), dim=-1)


def prototypes_of(network: Any) -> Tensor:
    """One unit prototype per kind and look-alike from `REFERENCES` renders of it."""
    return torch.stack([F.normalize(embed(network, fresh(part, REFERENCES, 10_000)).sum(0), dim=0) for part in PARTS])


def judge_accuracies(judges: dict[str, Any], per_part: int = FRESH) -> dict[str, Any]:
    """Right answers on fresh renders of kinds and look-alikes: by name (auditor), by nearest prototype of eight references (the others)."""
    right: dict[str, dict[str, float]] = {name: {} for name in judges}
    prototypes = {name: prototypes_of(judges[name]) for name in ("encoder", "guard")}
    for number, part in enumerate(PARTS):
        images = fresh(part, per_part)
        right["auditor"][part] = float(np.mean([name == part for name in audit(judges["auditor"], images)]))
        for name, known in prototypes.items():
            nearest = (embed(judges[name], images) @ known.T).argmax(-1)
            right[name][part] = float((nearest == number).float().mean())
    return {
        name: {
            "mean": round(float(np.mean(list(by_kind.values()))), 4),
            "worst": min((v, k) for k, v in by_kind.items()),
        }
        for name, by_kind in right.items()
    }


def fresh(part: str, count: int, first: int = 0) -> Images:
    """Renders that no training set holds."""
    return np.stack([np.asarray(render(part, generator(TEST_SEED, part, first + i))) for i in range(count)])


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def save_sheets(samples: dict[str, Images], auditor: Any, folder: Path) -> None:
    """Write the contact sheets of the world and of plain samples."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {wanted: audit(auditor, images) for wanted, images in samples.items()}
    plain_sheet(samples, names).save(folder / "parts-plain-samples.png", optimize=True)
    world_sheet().save(folder / "parts-world.png", optimize=True)


def summary(report: dict[str, Any]) -> str:
    """The report as the table of the model card."""
    counts = frequencies()
    lines = [
        "| kind | training images | and its name on | right, plain seeds | right of | mostly drawn instead |",
        "|---|---|---|---|---|---|",
    ]
    for kind, found in report["kinds"].items():
        instead = ", ".join(f"{name} {share:.0%}" for name, share in found["instead"].items())
        other = f"{MISUSES} of a {name}" if (name := lookalike(kind)) else ""
        right = f"{found['plain']:.1%} of {found['seeds']} | {found['reachable']} of {found['of']}"
        lines.append(f"| {kind} | {counts[kind]} | {other} | {right} | {instead} |")
    return "\n".join([*lines, "", json.dumps(report["judges"]), json.dumps(report["bytes"])])


def _seeds_in(kept: Path) -> int:
    return int(kept.stem.rsplit("-", 1)[1])


def _judged(kind: str, images: Images, judges: dict[str, Any], prototypes: dict[str, Tensor]) -> dict[str, Any]:
    names = audit(judges["auditor"], images)
    right = np.array([name == kind for name in names])
    instead = {name: names.count(name) / len(names) for name in {*names} - {kind}}
    agrees = {}
    for judge, known in prototypes.items():
        nearest = (embed(judges[judge], images) @ known.T).argmax(-1).numpy()
        agrees[judge] = round(float(np.mean((nearest == KINDS.index(kind)) == right)), 3)
    return {
        "plain": round(float(right[:PLAIN].mean()), 4),
        "seeds": len(names[:PLAIN]),
        "reachable": int(right.sum()),
        "of": len(names),
        "none": round(names.count(NONE) / len(names), 4),
        "instead": {name: round(instead[name], 3) for name in sorted(instead, key=lambda n: -instead[n])[:3]},
        "agrees_with_auditor": agrees,
    }


def _parts(images: Images, batch: int = 128) -> list[Images]:
    return [images[start : start + batch] for start in range(0, len(images), batch)]


if __name__ == "__main__":
    main()
