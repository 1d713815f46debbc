"""What a trial looks like in MLflow: one run for the whole, and below it one for each start.

Nothing here talks to MLflow. Every name and every time follows from the trial, so that logging something again replaces it: MLflow keeps
one value of a metric for each (step, timestamp, value), and one file for each name.

==============  ==================================================================================================
metrics         ``starts``, ``accepted``, ``best_guard``; ``pool/*`` of the explored plain seeds; ``cost/*`` in network
                evaluations; ``seconds/*``. Of a start: ``final/*``, the scores, and every loss term at every step
parameters      concept, prompt, models, ``sampler.*``, ``recipe.*``: what decides a trial, as text; ``software.*`` it ran with
tags            ``seedbank.*``: digests, who asked, reachability
files           ``sheet.png``, records and the pages about the photos; of a start its seeds and pictures
==============  ==================================================================================================

Parameters are those of the trial's record alone: MLflow never changes one, and whoever goes on with a log may have other libraries.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbank.bank import Bank
from seedbank.references.records import Reference, ReferenceSet
from seedbank.trials.records import Candidate, Trial

if TYPE_CHECKING:
    from PIL.Image import Image

TRIAL, KIND, START = "seedbank.trial_key", "seedbank.kind", "seedbank.start"
"""Tags of every run: its trial; whether it is the trial's (``trial``) or a start's (``start``); and of a start its digest."""
PARENT = "mlflow.parentRunId"
"""MLflow's own tag that puts a start's run below the trial's."""
REQUESTED_BY = "seedbank.requested_by"
"""Tag: everyone who ever asked for the concept; it may grow after the trial."""
IMAGE_GRID = "trajectory"
"""Key of the images in the UI's image grid: what the seed of a start draws at steps of its trajectory."""
DATASET_DIGEST = 32
"""Hex digits of a reference set's digest that MLflow takes for a dataset (at most 36 characters); the whole is in a tag."""
WEBP_QUALITY = 90
"""Of the previews in the image grid; the PNG beside each is exact."""


@dataclass(frozen=True)
class Contents:
    """What one run holds."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Mapping[str, bytes]
    curves: Sequence[tuple[int, str, float]] = ()
    """(step, metric, value)."""
    dataset: Mapping[str, str] = field(default_factory=dict)
    """What went in, in MLflow's fields; empty for nothing."""


def trial_tags(trial: Trial) -> dict[str, str]:
    """What the run of ``trial`` is found by."""
    return {TRIAL: trial.key, KIND: "trial"}


def start_tags(trial: Trial, candidate: Candidate, *, parent: str) -> dict[str, str]:
    """What the run of a start is found by; ``parent`` is the id of the trial's run."""
    return {TRIAL: trial.key, KIND: "start", START: candidate.start, PARENT: parent}


def start_contents(bank: Bank, trial: Trial, candidate: Candidate, *, start_ms: int) -> Contents:
    """One start: its curves, what it drew on the way, and the seed it became. ``start_ms`` is when its run was created."""
    from seedbank.selection.seeds import Seed
    from seedbank.trials.images import read_image

    start_file = bank.store.get(f"{trial.folder}/seeds/{candidate.start}.safetensors")
    start = Seed.from_safetensors(start_file)
    seed_file = bank.store.get(f"{trial.folder}/seeds/{candidate.seed}.safetensors")
    trajectory = json.loads(bank.store.get(f"{trial.folder}/trajectories/{candidate.start}.json"))
    params = {
        "start": candidate.start,
        "start_integer": start.lineage.integer,
        "start_generator": start.lineage.generator,
        "seed": candidate.seed,
        "image": candidate.image,
        "accepted": candidate.accepted,
        "stopped_by": trajectory["stopped_by"],
    }
    return Contents(
        params={name: _text(value) for name, value in params.items()},
        metrics={f"final/{name}": value for name, value in candidate.scores.model_dump().items()},
        # `mlflow.loggedImages` is what `MlflowClient.log_image` sets and the UI's image grid asks for.
        tags={"mlflow.loggedImages": "true", "mlflow.note.content": candidate.explanation},
        curves=list(_points(trajectory["steps"])),
        files={
            "seeds/start.safetensors": start_file,
            "seeds/seed.safetensors": seed_file,
            "candidate.png": read_image(bank, trial.folder, candidate),
            **_grid(bank, trial, candidate.start, start_ms),
        },
    )


def _points(steps: Sequence[Mapping[str, float | None]]) -> Iterator[tuple[int, str, float]]:
    """Every term of every step; what was not measured at a step is left out."""
    for metrics in steps:
        step = int(metrics["iteration"] or 0)
        for name, value in metrics.items():
            if name != "iteration" and value is not None:
                yield step, name, float(value)


def _grid(bank: Bank, trial: Trial, start: str, start_ms: int) -> dict[str, bytes]:
    """What a seed drew on the way, as the UI's image grid wants it: a PNG and a WebP for each step."""
    from seedbank.trials.images import decode

    files: dict[str, bytes] = {}
    for key in bank.store.keys(f"{trial.folder}/steps/{start}/"):
        step, png = int(Path(key).stem), bank.store.get(key)
        # A name-based UUID (RFC 4122, 4.3) and a time that follows from the step: written again it is the same file.
        name = image_name(IMAGE_GRID, step=step, time_ms=start_ms + step, unique=uuid.uuid5(uuid.NAMESPACE_OID, key))
        files |= {f"{name}.png": png, f"{name}+compressed.webp": _webp(decode(png))}
    return files


def image_name(key: str, *, step: int, time_ms: int, unique: uuid.UUID) -> str:
    """Where ``MlflowClient.log_image`` keeps an image, without its ending; ours is chosen, not random, so that it can be written again."""
    return f"images/{key}+step+{step}+timestamp+{time_ms}+{unique}"


def _webp(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=WEBP_QUALITY)
    return buffer.getvalue()


def read_again(key: str) -> bool:
    """Whether :func:`trial_contents` reads ``key`` after :func:`start_contents` did: the sheet shows candidates and their starts."""
    return "/images/" in key or ("/steps/" in key and key.endswith("/0.png"))


def trial_contents(bank: Bank, trial: Trial) -> Contents:
    """What concerns all starts of a trial."""
    from seedbank.trials.contact_sheet import to_png
    from seedbank.trials.sheet import TrialImages, draw_sheet

    references = bank.load(ReferenceSet, trial.reference_set).references
    pages = _reference_pages(bank, trial)
    images = TrialImages.read(bank, trial, references, trial.candidates)
    return Contents(
        params=_params(trial),
        metrics=_metrics(bank, trial),
        tags=_tags(bank, trial) | _page_tags(bank, pages),
        dataset=_dataset(trial, references),
        files={
            "sheet.png": to_png(draw_sheet(trial, images, trial.candidates)),
            "trial.json": trial.to_bytes(),
            "references.json": _json([item.model_dump(mode="json") for item in references]),
            "environment.json": _json(trial.software),
            **{f"references/{name}": bank.store.get(key) for name, key in pages.items()},
        },
    )


def _reference_pages(bank: Bank, trial: Trial) -> dict[str, str]:
    """The report on the reference photos and their Data Docs: keys by name; none for a set that has no report."""
    folder = f"reference-sets/{trial.reference_set}/"
    return {key.removeprefix(folder): key for key in bank.store.keys(folder)}


def _page_tags(bank: Bank, pages: Mapping[str, str]) -> dict[str, str]:
    """Where the first pages of both lie in the store."""
    named = {"seedbank.reference_report": "report.html", "seedbank.data_docs": "data-docs/index.html"}
    return {tag: f"{bank.store.url}/{pages[name]}" for tag, name in named.items() if name in pages}


def _params(trial: Trial) -> dict[str, str]:
    cards = {"model": trial.model, "encoder": trial.encoder, "guard": trial.guard}
    values = {
        "concept": trial.concept,
        "prompt": trial.prompt,
        "reference_set": trial.reference_set,
        "profile": trial.profile,
        "code_version": trial.code_version,
        **{name: card.name for name, card in cards.items()},
        **{f"{name}.content": card.content for name, card in cards.items()},
        **{f"sampler.{name}": value for name, value in trial.sampler.model_dump().items()},
        **{f"recipe.{name}": value for name, value in trial.recipe.to_dict().items()},
        **{f"software.{name}": value for name, value in trial.software.items()},
    }
    return {name: _text(value) for name, value in values.items()}


def _metrics(bank: Bank, trial: Trial) -> dict[str, float]:
    accepted = [item for item in trial.candidates if item.accepted]
    best = {"best_guard": max(item.scores.guard for item in accepted)} if accepted else {}
    return {
        "starts": len(trial.candidates),
        "accepted": len(accepted),
        **best,
        **{f"pool/{name}": float(value) for name, value in trial.pool.model_dump().items()},
        **{f"cost/{name}": float(value) for name, value in trial.cost.model_dump().items()},
        **_seconds(bank, trial),
    }


def _seconds(bank: Bank, trial: Trial) -> dict[str, float]:
    try:
        timing = json.loads(bank.store.get(f"{trial.folder}/timing.json"))
    except KeyError:
        return {}
    return {f"seconds/{stage}": float(value) for stage, value in timing["seconds"].items()}


def _tags(bank: Bank, trial: Trial) -> dict[str, str]:
    return {
        "seedbank.trial_digest": trial.digest,
        "seedbank.reference_set": trial.reference_set,
        "seedbank.model": trial.model.content,
        REQUESTED_BY: requesters(bank, trial),
        "seedbank.reachability": trial.reachability,
        "mlflow.note.content": _description(trial),
    }


def _description(trial: Trial) -> str:
    """What MLflow shows above a run, in Markdown: what was asked, and what whoever reads the result should know."""
    asked = f"“{trial.prompt}”: search for seeds, guided by reference set {trial.reference_set[:12]}"
    return "\n".join([asked, *([""] if trial.notes else []), *(f"- {note}" for note in trial.notes)])


def requesters(bank: Bank, trial: Trial) -> str:
    """Everyone who ever asked for the concept of ``trial``, as the tag has it."""
    return ", ".join(sorted(bank.requesters(trial.concept)))


def _dataset(trial: Trial, references: Sequence[Reference]) -> dict[str, str]:
    """The reference photos, which went in."""
    return {
        "name": f"{trial.concept} references",
        "digest": trial.reference_set[:DATASET_DIGEST],
        "source_type": "seedbank",
        "source": json.dumps({"key": f"reference-sets/{trial.reference_set}.json"}),
        "profile": json.dumps({"photos": len(references), "names": [item.name for item in references]}),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
