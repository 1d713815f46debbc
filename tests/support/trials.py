"""A small finished trial in a bank: photos on record, a frozen set, pictures, seeds, traces, and the ledger entries of all of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw

from seedbank.bank import Bank
from seedbank.models.card import ModelCard
from seedbank.records import sha256
from seedbank.references.records import Reference, ReferenceSet, Rights
from seedbank.review.decisions import record_decision
from seedbank.review.dossier import prepare_dossier
from seedbank.review.records import Dossier
from seedbank.review.roster import Reviewer, load_roster
from seedbank.selection.records import Cost, PoolStatistics, SamplerConfig, Scores
from seedbank.selection.search.recipes import BALANCED
from seedbank.selection.seeds import Lineage, Seed
from seedbank.settings import Settings
from seedbank.storage.images import pixel_digest, png
from seedbank.trials.records import Candidate, Trial

CONCEPT = "wingnut"
ROSTER = {"alice": {"name": "Alice Example"}, "bob": {"name": "Bob Example"}, "carol": {"name": "Carol Example"}}
RECIPE = replace(BALANCED, iterations=10)
SIDE = 64


def make_bank(root: Path, **settings: Any) -> Bank:
    """An empty bank in ``root`` with a concept and a roster of three."""
    made = replace(
        Settings.from_env({"SEEDBANK_HOME": str(root), "SEEDBANK_ACTOR": "test"}),
        concepts=root / "concepts",
        **settings,
    )
    made.concepts.mkdir(parents=True, exist_ok=True)
    concept = {"name": CONCEPT, "prompt": "a photo of a wingnut", "owner": "mia"}
    (made.concepts / f"{CONCEPT}.yaml").write_text(yaml.safe_dump(concept))
    write_roster(made, ROSTER)
    return Bank.open(made)


def write_roster(settings: Settings, people: Mapping[str, Mapping[str, object]]) -> None:
    """Say who may review."""
    settings.roster.write_text(yaml.safe_dump({"reviewers": {who: dict(values) for who, values in people.items()}}))


def make_rights(**changes: Any) -> Rights:
    """Rights that hold."""
    fields = {
        "licence": "CC-BY-4.0",
        "source": "workshop",
        "cleared_by": "sam",
        "cleared_on": date(2026, 1, 5),
        "purpose": ("synthetic-release",),
    }
    return Rights(**{**fields, **changes})


def make_picture(number: int, *, side: int = SIDE) -> np.ndarray:
    """A rendered part on a background, another one for each number; ``[H, W, 3]`` bytes."""
    random = np.random.default_rng(number)
    image = Image.new("RGB", (side, side), tuple(int(value) for value in random.integers(120, 250, 3)))
    draw = ImageDraw.Draw(image)
    left, top = (int(value) for value in random.integers(side // 8, side // 3, 2))
    size = int(random.integers(side // 3, side // 2))
    draw.ellipse((left, top, left + size, top + size), fill=tuple(int(value) for value in random.integers(0, 110, 3)))
    draw.ellipse((left + size // 3, top + size // 3, left + size // 2, top + size // 2), fill="white")
    return np.asarray(image)


@dataclass(frozen=True)
class Made:
    """A bank with a finished trial."""

    bank: Bank
    reference_set: ReferenceSet
    trial: Trial

    def dossier(self) -> Dossier:
        """The trial's dossier, frozen."""
        return prepare_dossier(self.bank, self.trial)

    def approve(self, *, people: tuple[str, ...] = ("alice", "bob"), scripted: bool = False) -> Dossier:
        """The dossier after both seats said yes."""
        dossier, roster = self.dossier(), load_roster(self.bank.settings.roster)
        for seat, who in enumerate(people, start=1):
            answer(self.bank, dossier.digest, seat, roster.reviewers[who], scripted=scripted)
        return dossier


def answer(bank: Bank, dossier: str, seat: int, reviewer: Reviewer, **changes: Any) -> Any:
    """Record an answer that counts."""
    fields: dict[str, Any] = {
        "verdict": "publish",
        "reason": "looks like the part",
        "scripted": False,
        "via": "test",
    }
    return record_decision(bank, dossier=dossier, seat=seat, reviewer=reviewer, **{**fields, **changes})


def change_rights(made: Made, **changes: Any) -> None:
    """Give every photo of the concept other rights, as an intake with changed sidecars does."""
    for key in list(made.bank.store.keys(f"photos/{CONCEPT}/")):
        reference = Reference.from_bytes(made.bank.store.get(key))
        changed = reference.model_copy(update={"rights": make_rights(**changes)})
        made.bank.store.put(key, changed.to_bytes())


def make_trial(
    bank: Bank,
    *,
    photos: int = 6,
    starts: int = 3,
    iterations: int = 11,
    rights: Rights | None = None,
    number: int = 0,
    draw: Callable[[Seed], np.ndarray] | None = None,
    shape: tuple[int, int, int] = (4, 8, 8),
    photo: Callable[[int], np.ndarray] = lambda number: make_picture(number, side=160),
    **changes: Any,
) -> Made:
    """Put a finished trial into ``bank``: ``starts`` candidates, the last of which the guard does not accept.

    ``draw`` makes the pictures from seeds of ``shape``; without it they are rendered parts that have nothing to do with their seeds.
    """
    bank.request("intake", concept=CONCEPT, subject="photos", requested_by=["mia"])
    references = _put_references(bank, [photo(number) for number in range(photos)], rights or make_rights())
    bank.request("trial", concept=CONCEPT, subject=references.digest, requested_by=["mia"])
    folder = f"trials/{CONCEPT}/{sha256(f'trial {number}'.encode())}"
    plain_numbers = range(100, 100 + starts)
    plain = tuple(
        _put_candidate(bank, folder, seed, _pixels(seed, index, draw), guard=0.3)
        for index in plain_numbers
        for seed in [_drawn(index, shape)]
    )
    optimised = tuple(
        _put_candidate(
            bank,
            folder,
            seed,
            _pixels(seed, 200 + 10 * number + index, draw),
            guard=0.8,
            start=start.seed,
            accepted=index < starts - 1,
        )
        for index, start in enumerate(plain)
        for seed in [_optimised(start.seed, 200 + 10 * number + index, shape)]
    )
    for start in plain:
        _put_trajectory(bank, folder, start, iterations)
    fields: dict[str, Any] = {
        "key": folder.rpartition("/")[2],
        "concept": CONCEPT,
        "concept_digest": bank.concept(CONCEPT).digest,
        "reference_set": references.digest,
        "prompt": "a photo of a wingnut",
        "profile": "parts",
        "model": _card("parts"),
        "encoder": _card("parts-encoder"),
        "guard": _card("parts-guard"),
        "sampler": SamplerConfig(
            scheduler="DDIMScheduler",
            num_inference_steps=20,
            guidance_scale=3.0,
            height=SIDE,
            width=SIDE,
            dtype="float32",
        ),
        "recipe": RECIPE,
        "code_version": "0.1.0",
        "software": {"torch": "2", "instructions": "AVX2", "threads": "1"},
        "pool": PoolStatistics(
            size=64, objective_mean=1.0, objective_std=0.2, guard_mean=0.2, guard_std=0.1, guard_max=0.5
        ),
        "plain": plain,
        "candidates": optimised,
        "cost": Cost(network_evaluations=1234, iterations=iterations),
        "reachability": "plain",
    }
    trial = Trial(**{**fields, **changes})
    bank.store.put_new(f"{trial.folder}/trial.json", trial.to_bytes())
    bank.record_once(
        "trial.finished",
        concept=CONCEPT,
        key=trial.key,
        trial=trial.digest,
        reference_set=trial.reference_set,
        candidates=len(trial.candidates),
        accepted=sum(candidate.accepted for candidate in trial.candidates),
    )
    return Made(bank, references, trial)


def _put_references(bank: Bank, pictures: Sequence[np.ndarray], rights: Rights) -> ReferenceSet:
    references = []
    for number, picture in enumerate(pictures):
        photo, working = _jpeg(picture), png(picture)
        reference = Reference(
            photo=sha256(photo),
            concept=CONCEPT,
            name=f"{CONCEPT}-{number}.jpg",
            working=sha256(working),
            width=picture.shape[1],
            height=picture.shape[0],
            format="JPEG",
            rights=rights,
        )
        bank.store.put(f"originals/{reference.photo}", photo)
        bank.store.put(f"working/{reference.photo}.png", working)
        bank.store.put(f"photos/{CONCEPT}/{reference.photo}.json", reference.to_bytes())
        bank.record_once("intake.accepted", concept=CONCEPT, key=reference.photo, name=reference.name)
        references.append(reference)
    frozen = ReferenceSet(
        concept=CONCEPT,
        concept_digest=bank.concept(CONCEPT).digest,
        references=tuple(references),
        assessments=(),
        measures={"vendi": float(len(pictures))},
        validation=sha256(b"validation"),
    )
    bank.store.put_new(f"reference-sets/{frozen.digest}.json", frozen.to_bytes())
    bank.record_once("references.validated", concept=CONCEPT, key=frozen.digest, reference_set=frozen.digest)
    return frozen


def _put_candidate(
    bank: Bank, folder: str, seed: Seed, pixels: np.ndarray, *, guard: float, start: str = "", accepted: bool = True
) -> Candidate:
    data = png(pixels)
    bank.store.put(f"{folder}/images/{sha256(data)}.png", data)
    bank.store.put(f"{folder}/seeds/{seed.digest}.safetensors", seed.to_safetensors())
    return Candidate(
        seed=seed.digest,
        start=start or seed.digest,
        image=sha256(data),
        pixels=pixel_digest(pixels),
        scores=Scores(
            objective=0.5, semantic=0.4, appearance=0.1, guard=guard, cosine_to_start=0.95, norm_z=0.2, whiteness=1.5
        ),
        accepted=accepted,
        explanation="better than the start under the guard" if accepted else "the guard sees no better image",
    )


def _put_trajectory(bank: Bank, folder: str, start: Candidate, iterations: int) -> None:
    steps = [
        {
            "iteration": step,
            "objective": 1.0 / (1 + step),
            "semantic": 0.6 / (1 + step),
            "appearance": 0.4 / (1 + step),
            "guard": 0.3 + 0.05 * step if step % 2 == 0 else None,
            "cosine_to_start": 1.0 - 0.01 * step,
            "norm_z": 0.1,
            "whiteness": 1.0,
            "gradient_norm": 2.0 if step < iterations - 1 else None,
        }
        for step in range(iterations)
    ]
    trajectory = {"start": start.seed, "steps": steps, "stopped_by": "iterations", "kept": iterations - 1}
    bank.store.put(f"{folder}/trajectories/{start.seed}.json", json.dumps(trajectory).encode())
    for step in range(0, iterations, 5):
        bank.store.put(f"{folder}/steps/{start.seed}/{step}.png", png(make_picture(300 + step)))


def _pixels(seed: Seed, number: int, draw: Callable[[Seed], np.ndarray] | None) -> np.ndarray:
    return draw(seed) if draw else make_picture(number)


def _drawn(number: int, shape: tuple[int, int, int]) -> Seed:
    lineage = Lineage(kind="drawn", generator="numpy/default_rng", integer=str(2**63 + number))
    return Seed(np.random.default_rng(number).standard_normal(shape).astype(np.float32), lineage)


def _optimised(parent: str, number: int, shape: tuple[int, int, int]) -> Seed:
    lineage = Lineage(kind="optimised", parents=(parent,), recipe=sha256(b"recipe"))
    return Seed(np.random.default_rng(number).standard_normal(shape).astype(np.float32), lineage)


def _card(name: str) -> ModelCard:
    return ModelCard(name=name, source="parts", content=sha256(name.encode()))


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()
