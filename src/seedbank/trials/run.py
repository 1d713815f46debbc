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
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from seedbank.errors import Unreachable, UsageError
from seedbank.models.software import drawing_software
from seedbank.references.photos import reference_images
from seedbank.trials.inputs import Inputs, load_inputs, search_of
from seedbank.trials.keep import keep_trial
from seedbank.trials.observe import Foretell, Keeper, Report
from seedbank.trials.pace import Pace
from seedbank.trials.records import Trial, trial_folder
from seedbank.trials.speeds import about, keep_speeds, read_speeds

if TYPE_CHECKING:
    import torch

    from seedbank.bank import Bank
    from seedbank.concepts import Concept
    from seedbank.references.records import ReferenceSet
    from seedbank.selection import Selection

log = logging.getLogger(__name__)


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
    return keep_trial(bank, inputs, selection)


def _tell(notes: Collection[str]) -> None:
    for note in notes:
        log.warning("%s", note)


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
    keeper = Keeper(bank, inputs.folder, report, pace, foretell)
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
