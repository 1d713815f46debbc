"""How much choosing seeds lifts the shipped model's rare kinds: the auditor's success of plain and of optimised seeds, and seconds.

Runs the product's own stages (intake, validate, optimise) on the shipped photos, in a bank of its own, then asks the auditor, which
has no say in any of them. Writes ``results/tail_lift-<preset>.json`` and ``.md`` beside this file.

    python benchmarks/tail_lift.py                         # all shipped concepts, their own preset
    python benchmarks/tail_lift.py wingnut hook --preset seedselect_v1
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from seedbank.bank import Bank
from seedbank.concepts import Concept
from seedbank.evaluation.machine import machine
from seedbank.models import load_auditor
from seedbank.models.drawing import plain_images
from seedbank.models.loading import load_model
from seedbank.models.parts.world import frequencies
from seedbank.references.intake.run import intake
from seedbank.references.validation import validate
from seedbank.settings import Settings, share_cores
from seedbank.trials.audit import audit, label_of
from seedbank.trials.code import code_version
from seedbank.trials.records import Trial
from seedbank.trials.run import run_trial

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class BenchmarkRow:
    """One concept."""

    concept: str
    training_images: int
    plain_right: int
    plain: int
    optimised_right: int
    optimised: int
    accepted_right: int
    accepted: int
    seconds: float
    network_evaluations: int


def main() -> None:
    """Run the benchmark and write its results."""
    share_cores()
    options = _options()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bank = Bank.open(
            Settings.from_env(
                {
                    "SEEDBANK_HOME": folder,
                    "SEEDBANK_CONCEPTS": str(ROOT / "concepts"),
                    "SEEDBANK_MODELS": str(ROOT / "models"),
                }
            )
        )
        intake(bank, ROOT / "examples" / "photos", requested_by="benchmark")
        for name in options.concepts or sorted(bank.concepts()):
            concept = bank.concept(name)
            preset = options.preset or concept.preset
            rows.append(measure(bank, concept.model_copy(update={"preset": preset}), options.plain))
            print(_line(rows[-1]), flush=True)
    write(rows, options.preset or "balanced")


def measure(bank: Bank, concept: Concept, plain: int) -> BenchmarkRow:
    """Search for one concept, then audit ``plain`` plain seeds and every candidate."""
    trial = run_trial(bank, concept, validate(bank, concept), requested_by=("benchmark",))
    auditor = load_auditor()
    label = label_of(auditor, concept.name)
    if label is None:
        raise SystemExit(f"the auditor does not know {concept.name}")
    drawn = plain_images(
        load_model(bank.profile(concept.model)),
        concept.prompt,
        root=concept.seed,
        count=plain,
        progress=lambda _done, _total: None,
    )
    before = audit(auditor, drawn, label)
    after = audit(auditor, _pictures(bank, trial), label)
    accepted = np.array([candidate.accepted for candidate in trial.candidates], bool)
    timing = json.loads(bank.store.get(f"{trial.folder}/timing.json"))
    return BenchmarkRow(
        concept=concept.name,
        training_images=frequencies()[concept.name],
        plain_right=int(before.sum()),
        plain=len(before),
        optimised_right=int(after.sum()),
        optimised=len(after),
        accepted_right=int(after[accepted].sum()),
        accepted=int(accepted.sum()),
        seconds=timing["total"],
        network_evaluations=trial.cost.network_evaluations,
    )


def write(rows: Sequence[BenchmarkRow], preset: str) -> None:
    """Keep the rows as JSON and as a table, with what they were measured on."""
    measured_on = {
        "processor": machine(),
        "python": platform.python_version(),
        "code": code_version(),
        "preset": preset,
    }
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": measured_on, "rows": [asdict(row) for row in rows], "mean": _means(rows)}
    (RESULTS / f"tail_lift-{preset}.json").write_text(json.dumps(document, indent=2) + "\n")
    head = "| concept | training images | plain | optimised | among accepted | accepted | seconds |"
    lines = [head, "|---|---|---|---|---|---|---|", *map(_line, rows), _mean_line(rows)]
    text = f"Auditor's success, preset `{preset}`, {measured_on['processor']}, {measured_on['code']}.\n\n" + "\n".join(
        lines
    )
    (RESULTS / f"tail_lift-{preset}.md").write_text(text + "\n")
    print(text)


def _pictures(bank: Bank, trial: Trial) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    files = [bank.store.get(f"{trial.folder}/images/{candidate.image}.png") for candidate in trial.candidates]
    return [np.asarray(Image.open(io.BytesIO(file)), np.uint8) for file in files]


def _line(row: BenchmarkRow) -> str:
    among = f"{row.accepted_right / row.accepted:.0%}" if row.accepted else "-"
    return (
        f"| {row.concept} | {row.training_images} | {row.plain_right / row.plain:.0%} of {row.plain} | "
        f"{row.optimised_right / row.optimised:.0%} of {row.optimised} | {among} | {row.accepted} | {row.seconds:.1f} |"
    )


def _means(rows: Sequence[BenchmarkRow]) -> dict[str, float]:
    accepted = sum(row.accepted for row in rows)
    return {
        "plain": float(np.mean([row.plain_right / row.plain for row in rows])),
        "optimised": float(np.mean([row.optimised_right / row.optimised for row in rows])),
        "among_accepted": sum(row.accepted_right for row in rows) / accepted if accepted else 0.0,
        "seconds": float(np.mean([row.seconds for row in rows])),
        "most_seconds": max(row.seconds for row in rows),
    }


def _mean_line(rows: Sequence[BenchmarkRow]) -> str:
    mean, accepted = _means(rows), sum(row.accepted for row in rows)
    return (
        f"| **mean** | | {mean['plain']:.0%} | {mean['optimised']:.0%} | {mean['among_accepted']:.0%} | {accepted} in all | "
        f"{mean['seconds']:.1f} |"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("concepts", nargs="*", help="names; default all")
    parser.add_argument("--preset", choices=("balanced", "seedselect_v1"), help="default each concept's own")
    parser.add_argument("--plain", type=int, default=128, help="plain seeds to audit")
    return parser.parse_args()


if __name__ == "__main__":
    main()
