"""Log trials, decisions and releases to MLflow. Logging again adds nothing twice, also after a kill, and also while another process logs.

- Which run is a trial's is agreed on in the store (:mod:`~seedbank.tracking.claims`); both of two processes then write the same run.
- What is in a run follows from the trial (:mod:`~seedbank.tracking.contents`), so that writing it again replaces it.
- A run that has everything says so (:data:`~seedbank.tracking.client.COMPLETE`), and the run of the trial says it last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from seedbank.bank import Bank
from seedbank.errors import UsageError
from seedbank.storage.once import ReadOnce
from seedbank.tracking.claims import TRIAL_RUN, Claims
from seedbank.tracking.client import Run, TrackingClient
from seedbank.tracking.contents import (
    PARENT,
    REQUESTED_BY,
    TRIAL,
    Contents,
    read_again,
    requesters,
    start_contents,
    start_tags,
    trial_contents,
    trial_tags,
)
from seedbank.trials.records import Trial

if TYPE_CHECKING:
    from seedbank.release.records import Release
    from seedbank.review.records import Decision


def log_trial(bank: Bank, trial: Trial) -> str:
    """Log ``trial`` and return the address of its MLflow run, ``experiments/<id>/runs/<id>``; logging it again returns the same.

    Raises:
        OutsideError: the server cannot be reached or refuses.
    """
    client = _connect(bank)
    experiment = client.experiment(_experiment_name(trial))
    run = _run(bank, client, experiment, trial, tags=trial_tags(trial), name=f"{trial.concept} {trial.key[:8]}")
    if not run.complete:
        _fill(replace(bank, store=ReadOnce(bank.store, read_again)), client, run, trial)
    # The one tag that may still grow when a run is complete.
    elif run.tags.get(REQUESTED_BY) != (asked := requesters(bank, trial)):
        client.tag(run, {REQUESTED_BY: asked})
    # A process that was killed between making a run and claiming it leaves one that nobody will ever finish.
    for stray in client.incomplete(experiment, {TRIAL: trial.key}):
        client.delete(stray)
    return run.address


def logged_address(bank: Bank, concept: str, trial: str) -> str | None:
    """Where the run of the trial with key ``trial`` was put last; None if it was never logged. Asks the store, not MLflow."""
    claimed = list(Claims.of(bank.store, concept, trial))
    return claimed[-1] if claimed else None


def log_decision(bank: Bank, decision: Decision) -> None:
    """Tag the trial's run with a reviewer's verdict.

    Raises:
        UsageError: the trial was never logged.
        OutsideError: the server cannot be reached or refuses.
    """
    from seedbank.review.records import Dossier

    script = " by script" if decision.scripted else ""
    verdict = f"{decision.verdict} ({decision.reviewer}{script}): {decision.reason}"
    trial = bank.load(Trial, bank.load(Dossier, decision.dossier).trial, concept=decision.concept)
    _tag(bank, trial, {f"seedbank.seat_{decision.seat}": verdict})


def log_release(bank: Bank, release: Release) -> None:
    """Tag the trial's run with its release; raises like :func:`log_decision`."""
    trial = bank.load(Trial, release.manifest.trial, concept=release.manifest.concept)
    _tag(bank, trial, {"seedbank.release": release.folder, "seedbank.statement": release.statement})


def _fill(bank: Bank, client: TrackingClient, run: Run, trial: Trial) -> None:
    """Everything that is not there yet; the trial's own contents last, for a run that is complete has complete children."""
    for candidate in trial.candidates:
        tags = start_tags(trial, candidate, parent=run.id)
        name = f"start {candidate.start[:8]}"
        child = _run(bank, client, run.experiment, trial, start=candidate.start, tags=tags, name=name)
        if child.tags.get(PARENT) != run.id:  # it hangs below a trial's run that was deleted since
            client.tag(child, {PARENT: run.id})
        if not child.complete:
            _write(client, child, start_contents(bank, trial, candidate, start_ms=child.start_ms))
    _write(client, run, trial_contents(bank, trial))


def _write(client: TrackingClient, run: Run, contents: Contents) -> None:
    client.log(run, params=contents.params, metrics=contents.metrics, tags=contents.tags)
    client.log_curves(run, contents.curves)
    if contents.dataset:
        client.log_dataset(run, contents.dataset, context="references")
    client.log_files(run, contents.files)
    client.finish(run)


def _run(
    bank: Bank,
    client: TrackingClient,
    experiment: str,
    trial: Trial,
    *,
    start: str = TRIAL_RUN,
    tags: Mapping[str, str],
    name: str,
) -> Run:
    """The one run of a trial, or of one of its starts; it is made if this server has none."""
    return Claims.of(bank.store, trial.concept, trial.key, start).settle(
        find=client.find, make=lambda: client.create(experiment, name=name, tags=tags), drop=client.delete
    )


def _tag(bank: Bank, trial: Trial, tags: Mapping[str, str]) -> None:
    client = _connect(bank)
    for claimed in Claims.of(bank.store, trial.concept, trial.key):
        if run := client.find(claimed):
            client.tag(run, tags)
            return
    raise UsageError(
        f"trial {trial.key[:12]} of {trial.concept!r} is not in MLflow; run `seedbank log {trial.concept}` first"
    )


def _connect(bank: Bank) -> TrackingClient:
    return TrackingClient.connect(bank.settings.tracking_uri, bank.settings.home)


def _experiment_name(trial: Trial) -> str:
    return f"seedbank/{trial.concept}"
