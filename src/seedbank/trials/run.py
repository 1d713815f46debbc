"""The trial stage: one search for seeds of one concept against one reference set, kept in the store.

A trial's key is the digest of everything that decides its outcome, so asking again finds it, and a killed search goes on from its last
checkpoint. Its folder holds::

    trials/<concept>/<key>/
      trial.json                          the record, written last: when it is there, everything is
      images/<sha256>.png                 of plain seeds and candidates
      seeds/<digest>.safetensors          their seeds, and the starts
      pool.safetensors                    scores and embeddings of everything explored
      trajectories/<start>.json           metrics of every iterate of one start
      steps/<start>/<iteration>.png       its image at every other iteration; also of starts that were dropped
      timing.json                         seconds; the only thing that differs between two runs
      checkpoint.safetensors              how far a running search is; gone when it is done
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from seedbank.errors import Unreachable, UsageError
from seedbank.models.software import drawing_software
from seedbank.records import canonical_json, sha256
from seedbank.references.photos import reference_images
from seedbank.storage.images import pixel_digest, png
from seedbank.trials.code import code_version
from seedbank.trials.estimate import Position, Search, iterations_until
from seedbank.trials.pace import Forecast, Pace
from seedbank.trials.records import Candidate, Trial, trial_folder
from seedbank.trials.speeds import about, keep_speeds, read_speeds

if TYPE_CHECKING:
    import torch

    from seedbank.bank import Bank
    from seedbank.concepts import Concept
    from seedbank.models.loading import Models
    from seedbank.references.records import ReferenceSet
    from seedbank.selection import Checkpoint, Event, Find, Recipe, ScoredImage, Selection
    from seedbank.selection.search.state import OptimisationState
    from seedbank.selection.seeds import Seed

log = logging.getLogger(__name__)
DROPPED = ("others were more promising", "enough others are near enough")
"""Why a start ends for the sake of others."""
CHECKPOINT_EVERY, IMAGE_EVERY = 5, 2
"""Iterations between two checkpoints, and between two images of a start: some are at their end after four."""

Report = Callable[[str, int, int], None]
"""Called with the stage (``load``, ``explore``, ``calibrate``, ``optimise``, ``draw``), units done, and units in all."""
Foretell = Callable[[Forecast], None]


def run_trial(
    bank: Bank,
    concept: Concept,
    reference_set: ReferenceSet,
    *,
    requested_by: Collection[str],
    progress: Report | None = None,
    forecast: Foretell | None = None,
) -> Trial:
    """Search for seeds of ``concept``, or return the trial that already did.

    Args:
        bank: where everything is kept.
        concept: what to draw, with which model, preset and seed.
        reference_set: the frozen photos that guide it.
        requested_by: ids of everyone who asks for it now. They go on the ledger first, whether or not there is anything left to search;
            none of them may review images of the concept.
        progress: told how far it is.
        forecast: told what is left and how long that will take, before the search begins and after every step of it.

    Raises:
        Unreachable: no seed of this model draws the concept; the ledger has the numbers.
        UsageError: the model, preset or device does not exist, or the reference set is another concept's.
        OutsideError: the card failed or is gone; asked again, the trial goes on.
    """
    if reference_set.concept != concept.name:
        raise UsageError(
            f"expected a reference set of {concept.name!r}, got one of {reference_set.concept!r}; validate {concept.name} first"
        )
    # First: whoever asks may not review, also where the trial is there already.
    bank.request("trial", concept=concept.name, subject=reference_set.digest, requested_by=requested_by)
    report, foretell = progress or (lambda _stage, _done, _total: None), forecast or (lambda _forecast: None)
    from seedbank.models.device import at_work

    with at_work(bank.settings, f"the trial of {concept.name} goes on from its last checkpoint") as device:
        return _run(bank, concept, reference_set, report, foretell, device)


def _run(
    bank: Bank,
    concept: Concept,
    reference_set: ReferenceSet,
    report: Report,
    foretell: Foretell,
    device: torch.device,
) -> Trial:
    report("load", 0, 1)
    inputs = load_inputs(bank, concept, reference_set, device)
    report("load", 1, 1)
    if bank.store.exists(f"{trial_folder(concept.name, inputs.key)}/trial.json"):
        found = bank.load(Trial, inputs.key, concept=concept.name)
        _tell(found.notes)
        return found
    # An unreachable concept leaves no trial, only its entry on the ledger.
    _raise_if_known_unreachable(bank, concept.name, inputs.key)
    _start(bank, inputs)
    _tell(inputs.models.notes)
    selection = _select(bank, inputs, report, foretell)
    if selection.reachability == "unreachable":
        raise _unreachable(bank, inputs, selection)
    return _finish(bank, inputs, selection)


def _tell(notes: Collection[str]) -> None:
    for note in notes:
        log.warning("%s", note)


@dataclass(frozen=True)
class Inputs:
    """Everything that decides what a trial finds."""

    concept: Concept
    reference_set: ReferenceSet
    models: Models
    recipe: Recipe
    code: str = field(default_factory=code_version)

    @property
    def key(self) -> str:
        """Digest of all inputs."""
        return sha256(
            canonical_json(
                {
                    "trial": 1,
                    "concept": self.concept.digest,
                    "reference_set": self.reference_set.digest,
                    "model": self.models.model.card.digest,
                    "encoder": self.models.encoder.card.digest,
                    "guard": self.models.guard.card.digest,
                    "sampler": self.models.model.sampler.digest,
                    "recipe": self.recipe.digest,
                    "code": self.code,
                }
            )
        )

    @property
    def folder(self) -> str:
        """Key prefix of the trial."""
        return trial_folder(self.concept.name, self.key)


def load_inputs(bank: Bank, concept: Concept, reference_set: ReferenceSet, device: torch.device) -> Inputs:
    """The models that the concept's profile names, on ``device``, and the recipe that its preset does."""
    from seedbank.models.loading import load_models
    from seedbank.selection import preset

    profile = bank.profile(concept.model)
    # The plain images for comparison come out of the same pool.
    recipe = preset(concept.preset, starts=max(concept.policy.selection.candidates, concept.policy.selection.plain))
    return Inputs(concept, reference_set, load_models(profile, device=device), profile.adapt(recipe))


def search_of(inputs: Inputs) -> Search:
    """How much work a trial is, before it begins."""
    from seedbank.selection.sampling.sampler import make_sampler

    model, policy = inputs.models.model, inputs.concept.policy.selection
    # For any prompt: how many steps and branches there are does not depend on it.
    sampler = make_sampler(model.pipeline, "", model.sampler)
    return Search(
        recipe=inputs.recipe,
        starts=policy.candidates,
        plain=policy.plain,
        steps=len(sampler.steps),
        branches=len(sampler.condition),
        references=len(inputs.reference_set.references),
        small=model.sampler.batch_size > 1,
    )


def _start(bank: Bank, inputs: Inputs) -> None:
    """Put the start on record, once."""
    bank.record_once(
        "trial.started",
        concept=inputs.concept.name,
        key=inputs.key,
        preset=inputs.recipe.name,
        reference_set=inputs.reference_set.digest,
    )


def _select(bank: Bank, inputs: Inputs, report: Report, foretell: Foretell) -> Selection:
    from seedbank.models.loading import check_judges
    from seedbank.selection import select

    photos = reference_images(bank, inputs.reference_set)
    check_judges(inputs.models, photos)
    subject = about(inputs.models, drawing_software(inputs.models.model.device))
    pace = Pace(search_of(inputs), read_speeds(bank.settings.home, subject))
    keeper = _Keeper(bank, inputs.folder, report, pace, foretell)
    # Read before the search begins, whose first checkpoint overwrites it.
    resume = keeper.resume()
    foretell(pace.forecast())
    policy = inputs.concept.policy.selection
    selection = select(
        inputs.models.model.pipeline,
        inputs.concept.prompt,
        photos,
        encoder=inputs.models.encoder,
        guard_encoder=inputs.models.guard,
        recipe=inputs.recipe,
        starts=policy.candidates,
        plain=policy.plain,
        root=inputs.concept.seed,
        config=inputs.models.model.sampler,
        observe=keeper,
        resume=resume,
    )
    keep_speeds(bank.settings.home, subject, pace.measured)
    # Beside the trial and not in it: a record must be the same bytes when it is made again.
    timing = _timing(selection, resumed=keeper.resumed)
    bank.store.put(f"{inputs.folder}/timing.json", json.dumps(timing, indent=2).encode())
    return selection


def _timing(selection: Selection, *, resumed: bool) -> dict[str, Any]:
    """Seconds of this process, by stage."""
    seconds = {stage: round(value, 3) for stage, value in selection.seconds.items()}
    return {"seconds": seconds, "total": round(sum(selection.seconds.values()), 3), "resumed": resumed}


@dataclass
class _Keeper:
    """Observes a selection: keeps checkpoints and the images of steps, passes progress on."""

    bank: Bank
    folder: str
    report: Report
    pace: Pace
    foretell: Foretell
    resumed: bool = False

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        self.report(event.stage, event.done, event.total)
        self.foretell(self.pace.note(position_of(event), mode=mode_of(event.checkpoint)))
        last = event.done == event.total
        if last or event.done % IMAGE_EVERY == 0:
            self._keep_images(event)
        if event.checkpoint and (last or event.stage == "explore" or event.done % CHECKPOINT_EVERY == 0):
            self.bank.store.put(self._checkpoint, event.checkpoint.to_bytes())

    def resume(self) -> Checkpoint | None:
        """The checkpoint of an earlier, interrupted run."""
        from seedbank.selection import Checkpoint

        try:
            found = Checkpoint.from_bytes(self.bank.store.get(self._checkpoint))
        except KeyError:
            return None
        self.resumed = True
        self.pace.resume(_resumed_at(found), mode=mode_of(found))
        return found

    def _keep_images(self, event: Event) -> None:
        for seed, pixels in event.images.items():
            self.bank.store.put(f"{self.folder}/steps/{seed.digest}/{event.iteration}.png", png(pixels))

    @property
    def _checkpoint(self) -> str:
        return f"{self.folder}/checkpoint.safetensors"


def position_of(event: Event) -> Position:
    """Where a search is, by what it tells."""
    state = event.checkpoint.state if event.checkpoint else None
    if event.stage != "optimise" or not state:
        return Position(stage=event.stage, done=event.done)
    return Position(
        stage="optimise",
        done=event.done,
        evaluated=len(event.images),
        active=len(state.active),
        ended=_ended(state.stopped_by),
        until=_until(state, event.semantic_goal),
    )


def _until(state: OptimisationState, goal: float | None) -> tuple[float, ...]:
    """Iterations until each start that goes on is near enough, as far as its losses say."""
    losses = [[metrics.semantic for metrics in state.trajectories[row]] for row in state.active]
    return iterations_until(losses, goal) if goal is not None else ()


def _ended(reasons: Sequence[str]) -> int:
    """How many starts ended by themselves."""
    return sum(reason not in ("", *DROPPED) for reason in reasons)


def _resumed_at(checkpoint: Checkpoint) -> Position:
    state, pool = checkpoint.state, checkpoint.pool
    if not state:
        return Position(stage="explore", done=len(pool.previews) + len(pool))
    return Position(
        stage="optimise", done=state.evaluations - 1, active=len(state.active), ended=_ended(state.stopped_by)
    )


def mode_of(checkpoint: Checkpoint | None) -> str:
    """The gradient mode that a search found to suit; empty where it has not measured that."""
    return checkpoint.calibration.chosen if checkpoint and checkpoint.calibration else ""


def _finish(bank: Bank, inputs: Inputs, selection: Selection) -> Trial:
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


ADVICE = "try few-shot fine-tuning (LoRA), an image-conditioned adapter (IP-Adapter), another prompt or another model"


def _unreachable(bank: Bank, inputs: Inputs, selection: Selection) -> Unreachable:
    pool = selection.pool.statistics()
    entry = bank.record_once(
        "trial.unreachable",
        concept=inputs.concept.name,
        key=inputs.key,
        seeds=pool.size,
        best=pool.guard_max,
        mean=pool.guard_mean,
        needed=selection.threshold,
        gap=round(selection.diagnosis.gap, 3),
        name_effect=selection.diagnosis.name_effect,
        advice=ADVICE,
    )
    # From the entry, so that the first refusal and all later ones say the same.
    return _refusal(inputs.concept.name, entry.data)


def _raise_if_known_unreachable(bank: Bank, concept: str, key: str) -> None:
    for entry in bank.ledger.entries(concept=concept, event="trial.unreachable"):
        if entry.data["key"] == key:
            raise _refusal(concept, entry.data)


def _refusal(concept: str, numbers: dict[str, Any]) -> Unreachable:
    return Unreachable(
        f"no seed of this model draws {concept!r}: the best of {numbers['seeds']} plain seeds is {numbers['best']:.2f} near the "
        f"references, {numbers['needed']:.2f} is needed and the mean is {numbers['mean']:.2f}; {numbers['advice']}"
    )
