"""What our sampling loop costs beside the pipeline's own, and a gradient beside a plain sample, on the shipped model.

Two numbers, each measured in this one process with the two sides taking turns:

- exploration: images a second of our loop and decoding, over those of calling the diffusers pipeline itself at the same batch, steps
  and guidance (wanted: at least 0.9);
- one iteration of ``one_vjp@0.5`` with the preset's objective, over a plain sample of the same batch (wanted: at most 1.5).

Writes ``results/sampler_cost.json`` and ``.md`` beside this file.

    python benchmarks/sampler_cost.py                     # batches of 8 and 32, 7 turns
    python benchmarks/sampler_cost.py --batch 4 --turns 3 --out /tmp/quick
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seedbank.evaluation.machine import machine
from seedbank.settings import share_cores

RESULTS = Path(__file__).parent / "results"
PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
MODE = "one_vjp@0.5"


@dataclass(frozen=True)
class BenchmarkRow:
    """Two things measured in turns: medians in seconds, their ratio, and whether it is what was wanted."""

    what: str
    batch: int
    ours: float
    theirs: float
    ratio: float
    wanted: str
    met: bool
    turns: int


def main() -> None:
    """Measure and write."""
    share_cores()
    options = _options()
    bench = Bench(options.model, options.prompt, options.turns)
    rows: list[BenchmarkRow] = []
    for batch in options.batch:
        rows += [bench.exploration(batch), bench.gradient(batch)]
        for row in rows[-2:]:
            print(_line(row), flush=True)
    write(rows, bench.facts(), Path(options.out))


class Bench:
    """The shipped model, its sampler and the preset's objective."""

    def __init__(self, model: str, prompt: str, turns: int) -> None:
        from PIL import Image

        from seedbank.models import load_encoder, load_guard, load_pipeline
        from seedbank.selection import BALANCED
        from seedbank.selection.sampling.sampler import make_sampler
        from seedbank.selection.search.seed_search import SeedSearch

        self.loaded, self.prompt, self.turns = load_pipeline(model), prompt, turns
        self.sampler = make_sampler(self.loaded.pipeline, prompt, self.loaded.sampler)
        photos = [Image.open(path).convert("RGB") for path in sorted((PHOTOS / "wingnut").glob("photo-*.jpg"))]
        search = SeedSearch(
            sampler=self.sampler, references=photos, encoder=load_encoder(), guard_encoder=load_guard(), recipe=BALANCED
        )
        self.objective = search.objective

    def exploration(self, batch: int) -> BenchmarkRow:
        """Our loop and decoding against the pipeline, images as arrays from both."""
        noise, config = self._noise(batch), self.loaded.sampler

        def theirs() -> Any:
            return self.loaded.pipeline(
                self.prompt,
                latents=noise.clone(),
                num_images_per_prompt=batch,
                num_inference_steps=config.num_inference_steps,
                guidance_scale=config.guidance_scale,
                height=config.height,
                width=config.width,
                output_type="np",
            ).images

        mine, others = in_turns(self._drawn(noise), theirs, self.turns)
        ratio = others / mine
        return BenchmarkRow("exploration, throughput", batch, mine, others, ratio, ">= 0.9", ratio >= 0.9, self.turns)

    def gradient(self, batch: int) -> BenchmarkRow:
        """One iteration against a plain sample, both by our loop."""
        from seedbank.selection.sampling.gradients import value_and_grad
        from seedbank.selection.sampling.modes import Mode

        noise, mode = self._noise(batch), Mode.parse(MODE)

        def iterate() -> Any:
            return value_and_grad(self.sampler, noise, self.objective.evaluate, mode)

        mine, others = in_turns(iterate, self._drawn(noise), self.turns)
        ratio = mine / others
        return BenchmarkRow(f"{MODE}, time", batch, mine, others, ratio, "<= 1.5", ratio <= 1.5, self.turns)

    def facts(self) -> dict[str, Any]:
        """What was measured, and on what."""
        import diffusers
        import torch

        from seedbank.trials.code import code_version

        config = self.loaded.sampler
        return {
            "machine": machine(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "code": code_version(),
            "model": self.loaded.card.content,
            "steps": config.num_inference_steps,
            "guidance": config.guidance_scale,
        }

    def _drawn(self, noise: Any) -> Callable[[], Any]:
        from seedbank.selection.sampling.sampler import to_pixels

        def draw() -> Any:
            import torch

            with torch.no_grad():
                return to_pixels(self.sampler.family.decode(self.sampler.denoise(noise)))

        return draw

    def _noise(self, batch: int) -> Any:
        from seedbank.selection.sampling.noise import draws

        return draws("sampler_cost", range(batch), self.sampler.noise_shape).to(self.sampler.family.device)


def in_turns(one: Callable[[], Any], other: Callable[[], Any], turns: int) -> tuple[float, float]:
    """Median seconds of two things done by turns, after one turn to warm up; who goes first changes each time."""
    times: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(turns + 1):
        for which in (0, 1) if turn % 2 else (1, 0):
            begun = time.perf_counter()
            (one, other)[which]()
            if turn:
                times[which].append(time.perf_counter() - begun)
    return statistics.median(times[0]), statistics.median(times[1])


def write(rows: list[BenchmarkRow], facts: dict[str, Any], folder: Path) -> None:
    """Keep the rows as JSON and as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"facts": facts, "rows": [asdict(row) for row in rows]}
    (folder / "sampler_cost.json").write_text(json.dumps(document, indent=2) + "\n")
    head = ["| what | batch | ours, s | other, s | ratio | wanted | met |", "|---|---|---|---|---|---|---|"]
    words = f"{facts['machine']}, {facts['steps']} steps, guidance {facts['guidance']}, {facts['code']}."
    (folder / "sampler_cost.md").write_text("\n".join([words, "", *head, *map(_line, rows)]) + "\n")


def _line(row: BenchmarkRow) -> str:
    met = "yes" if row.met else "no"
    return f"| {row.what} | {row.batch} | {row.ours:.3f} | {row.theirs:.3f} | {row.ratio:.2f} | {row.wanted} | {met} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--model", default="parts")
    parser.add_argument("--prompt", default="a photo of a wingnut")
    parser.add_argument("--out", default=str(RESULTS), help="folder of the two files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
