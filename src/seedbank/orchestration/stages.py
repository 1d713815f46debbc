"""What the tasks do: read the run's order, call one stage of seedbank, pass an address on. Heavy imports stay inside."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import get_current_context

from seedbank.errors import UnusableReferences, UsageError
from seedbank.orchestration.assets import DOSSIERS, REFERENCE_SETS, RELEASES
from seedbank.orchestration.links import absolute, report_url
from seedbank.orchestration.runs import Order, s3_access
from seedbank.settings import share_cores

log = logging.getLogger(__name__)
share_cores()  # a worker shares its machine with the scheduler and other tasks


def take_in() -> list[str]:
    """Take photos in from the run's ``source``.

    Returns:
        The concepts to validate: after a clock's scan those that got something new, after a person's trigger all that have photos here.
    """
    from seedbank.references.intake.run import intake

    context = get_current_context()
    order, params = Order.of(context), context["params"]
    if not params["source"]:
        raise UsageError(
            "expected a folder or an s3:// bucket in 'source'; give it when triggering, or set SEEDBANK_INTAKE"
        )
    report = intake(
        order.bank(),
        params["source"],
        concept=params["concept"] or None,
        requested_by=order.user or f"schedule:{order.dag_id}",
        s3=s3_access(),
    )
    for outcome in (*report.waiting, *report.quarantined):
        log.warning("%s %s (%s): %s", outcome.kind, outcome.name, outcome.concept, outcome.reason)
    for note in report.notes:
        log.warning("%s", note)
    log.info("%s", ", ".join(f"{count} {kind}" for kind, count in report.counts.items()))
    return list(report.concepts if order.scheduled else report.seen)


def validate(concept_name: str) -> str:
    """Judge the concept's photos and freeze a reference set; its digest. Announces the set as the concept's partition."""
    from seedbank.references.records import ReferenceSet
    from seedbank.references.validation import examine

    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # it would bury the assessments
    context = get_current_context()
    order = Order.of(context)
    bank = order.bank()
    concept = bank.concept(concept_name)
    examination = examine(bank, concept, requested_by=order.requested_by(concept))
    log.info("report with every photo: %s", absolute(report_url(examination.folder)))
    # Raised before the event: a refused set starts no search.
    if examination.refusal:
        raise UnusableReferences(examination.explain_refusal())
    chosen = bank.load(ReferenceSet, examination.reference_set)
    for assessment in chosen.assessments:
        log.info("%s %s: %s", "in " if assessment.chosen else "out", assessment.name, "; ".join(assessment.lines))
    _announce(context, REFERENCE_SETS, concept.name, digest=chosen.digest, report=report_url(examination.folder))
    return chosen.digest


def optimise() -> str:
    """Search seeds for the run's concept against the set that caused the run (or the latest); the trial's key."""
    from seedbank.references.records import ReferenceSet
    from seedbank.trials.run import run_trial

    order = Order.of(get_current_context(), REFERENCE_SETS)
    bank = order.bank()
    concept = bank.concept(order.one_concept())
    # The set of the event, for a newer one may have been frozen since; it has an event and a run of its own.
    digest = order.message.get("digest")
    references = bank.load(ReferenceSet, str(digest)) if digest else bank.newest(ReferenceSet, concept.name)
    return run_trial(bank, concept, references, requested_by=order.requested_by(concept), progress=_log_progress).key


def log_to_mlflow(trial_key: str) -> str:
    """Log the trial to MLflow; the address of its run there. Logging it again adds nothing."""
    from seedbank.tracking.log import log_trial
    from seedbank.trials.records import Trial

    order = Order.of(get_current_context(), REFERENCE_SETS)
    bank = order.bank()
    return log_trial(bank, bank.load(Trial, trial_key, concept=order.one_concept()))


def freeze(trial_key: str, mlflow_run: str) -> str:
    """Freeze the dossier of the trial; its digest. Announces it for review as the concept's partition."""
    from seedbank.review.dossier import prepare_dossier
    from seedbank.trials.records import Trial

    context = get_current_context()
    order = Order.of(context, REFERENCE_SETS)
    bank = order.bank()
    concept = bank.concept(order.one_concept())
    trial = bank.load(Trial, trial_key, concept=concept.name)
    digest = prepare_dossier(bank, trial, requested_by=order.requested_by(concept)).digest
    _announce(context, DOSSIERS, concept.name, dossier=digest, trial=trial_key, mlflow_run=mlflow_run)
    return digest


def open_review() -> str:
    """Write down who opens the review, and check that enough people are left who may answer; the dossier's digest."""
    from seedbank.orchestration.cases import Case

    case = Case.of(Order.of(get_current_context(), DOSSIERS))
    case.open()
    return case.digest


def publish() -> str:
    """Publish what the signed decisions on record allow; the release's folder in the store.

    Reads neither an XCom nor a task's state. A person's "no" skips the task, for that is an answer; anything else that is missing from a
    full approval fails it.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from seedbank.orchestration.cases import Case
    from seedbank.release.publish import publish

    context = get_current_context()
    case = Case.of(Order.of(context, DOSSIERS))
    if rejection := case.rejection():
        raise AirflowSkipException(rejection)
    release = publish(case.bank, case.digest)
    _announce(context, RELEASES, case.dossier.concept, dossier=case.digest, release=release.folder)
    return str(release.folder)


def tag_mlflow() -> None:
    """Tag the trial's MLflow run with the decisions on record and the release, for people who look there."""
    from airflow.sdk.exceptions import AirflowSkipException

    from seedbank.orchestration.cases import Case
    from seedbank.release.records import load_release
    from seedbank.tracking.log import log_decision, log_release

    case = Case.of(Order.of(get_current_context(), DOSSIERS))
    try:
        for decision in case.decisions():
            log_decision(case.bank, decision)
        if case.published:
            log_release(case.bank, load_release(case.bank, case.dossier.concept, case.digest))
    # A trial that was never logged. MLflow is for looking: no release fails over it.
    except UsageError as error:
        raise AirflowSkipException(str(error)) from error


def _log_progress(stage: str, done: int, total: int) -> None:
    log.info("%s: %d of %d", stage, done, total)


def _announce(context: Any, asset: Any, concept: str, **extra: Any) -> None:
    """Make the event that the task's success will emit carry ``concept`` as its partition and ``extra`` as its message."""
    event = context["outlet_events"][asset]
    event.add_partitions(concept)
    event.extra = extra
