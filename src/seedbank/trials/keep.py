"""A finished search, kept: blobs first, then the record that names them, then the ledger's entry."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING

from seedbank.models.software import drawing_software
from seedbank.records import canonical_json, sha256
from seedbank.storage.images import pixel_digest, png
from seedbank.trials.records import Candidate, Trial

if TYPE_CHECKING:
    from seedbank.bank import Bank
    from seedbank.selection import Find, ScoredImage, Selection
    from seedbank.selection.seeds import Seed
    from seedbank.trials.inputs import Inputs


def keep_trial(bank: Bank, inputs: Inputs, selection: Selection) -> Trial:
    """Write blobs first, then the record that names them, then the ledger."""

    from seedbank.models.placing import decoding

    plain = tuple(_keep(bank, inputs.folder, image, image.seed) for image in selection.plain)
    candidates = tuple(_keep(bank, inputs.folder, find.image, find.start) for find in selection.finds)
    bank.store.put(f"{inputs.folder}/pool.safetensors", selection.pool.to_safetensors())
    for find in selection.finds:
        bank.store.put(f"{inputs.folder}/trajectories/{find.start.digest}.json", _trajectory(find))
    # What is kept may be another process's record; the ledger is told of that one.
    trial = bank.keep(
        Trial(
            key=inputs.key,
            concept=inputs.concept.name,
            concept_digest=inputs.concept.digest,
            reference_set=inputs.reference_set.digest,
            prompt=inputs.concept.prompt,
            profile=inputs.models.profile.name,
            model=inputs.models.model.card,
            encoder=inputs.models.encoder.card,
            guard=inputs.models.guard.card,
            sampler=selection.config,
            recipe=selection.recipe,
            code_version=inputs.code,
            software=drawing_software(inputs.models.model.device) | decoding(inputs.models.model.pipeline),
            pool=selection.pool.statistics(),
            plain=plain,
            candidates=candidates,
            calibration=selection.calibration,
            cost=selection.cost,
            reachability=selection.reachability,
            notes=(*inputs.models.notes, *selection.notes),
        )
    )
    bank.record_once(
        "trial.finished",
        concept=trial.concept,
        key=trial.key,
        trial=trial.digest,
        reference_set=trial.reference_set,
        candidates=len(trial.candidates),
        accepted=sum(candidate.accepted for candidate in trial.candidates),
    )
    # Last: until the ledger knows of the trial a killed process has to be able to go on.
    bank.store.delete(f"{inputs.folder}/checkpoint.safetensors")
    return trial


def _keep(bank: Bank, folder: str, scored: ScoredImage, start: Seed) -> Candidate:
    """Store an image, its seed and the seed it came from; return the record of it."""
    data = png(scored.pixels)
    image = sha256(data)
    bank.store.put(f"{folder}/images/{image}.png", data)
    # For a plain image the two are one.
    for seed in {scored.seed, start}:
        bank.store.put(f"{folder}/seeds/{seed.digest}.safetensors", seed.to_safetensors())
    return Candidate(
        seed=scored.seed.digest,
        start=start.digest,
        image=image,
        pixels=pixel_digest(scored.pixels),
        scores=scored.scores,
        accepted=scored.accepted,
        explanation=scored.explanation,
    )


def _trajectory(find: Find) -> bytes:
    return canonical_json(
        {
            "start": find.start.digest,
            "steps": [
                # JSON has no infinity, which is what the norm of a broken gradient is.
                {name: value if value is None or isfinite(value) else None for name, value in asdict(metrics).items()}
                for metrics in find.trajectory
            ],
            "stopped_by": find.stopped_by,
            "kept": find.kept,
        }
    )
