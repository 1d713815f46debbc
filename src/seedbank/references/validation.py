"""Validation: judges the pool of a concept and freezes the reference set that guides its search.

1. Every photo of the pool is measured (rights, quality, likeness to the others and to the concept's siblings) and judged by the photo
   suite. Photos are looked at one after another, so memory does not grow with their size.
2. Of the photos that broke no critical rule, up to ``max_photos`` are chosen that stand best for the pool, after those that are pinned.
3. The choice is judged as a whole by the set suite. If that holds, it is frozen; else it is refused with the reasons.

Either way the checks, the assessment on each photo, the report and the Data Docs are kept::

    validations/<digest>.json              the checks (Checks); a set names its digest
    validations/inputs/<key>.json          what came of a pool (Examination), by the digest of everything that went in; written last
    validations/<digest>/report.html       of a refused pool, with data-docs/… beside it
    reference-sets/<digest>.json           a frozen set (ReferenceSet)
    reference-sets/<digest>/report.html    of a frozen set, with data-docs/… beside it

The same pool under the same policy, rights and guard gives the same set. Time enters only where rights begin or end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from seedbank import __version__
from seedbank.bank import Bank
from seedbank.concepts import Concept
from seedbank.errors import UnusableReferences
from seedbank.models.card import ModelCard
from seedbank.records import canonical_json, sha256
from seedbank.references.choosing.advice import advise
from seedbank.references.choosing.assessments import assess, broken_by, explain, explain_rows
from seedbank.references.choosing.facility_location import Resolved, resolve
from seedbank.references.judging.embedding import Embeds, embed
from seedbank.references.judging.features import Look
from seedbank.references.judging.measured_photos import MeasuredPhotos, Siblings, measure_photos, numbers
from seedbank.references.judging.siblings import find_siblings
from seedbank.references.judging.suite_runner import Checks, sitting
from seedbank.references.judging.suites import PHOTOS, SET, photo_suite, set_suite
from seedbank.references.measures.kept import measures_of
from seedbank.references.photos import working_image
from seedbank.references.records import Examination, Reference, ReferenceSet, load_photos
from seedbank.references.report.page import Findings, write_report
from seedbank.references.rights import check_reference

__all__ = [
    "Embeds",
    "Examination",
    "examine",
    "validate",
    "working_image",
]

RULES = "2"
"""Raise when measures or rules change their meaning: a pool is then judged anew."""


def validate(
    bank: Bank, concept: Concept, *, embedder: Embeds | None = None, today: date | None = None
) -> ReferenceSet:
    """The frozen reference set of a concept's pool. Takes the same arguments as :func:`examine`.

    Raises:
        UnusableReferences: too few photos are usable, or the set breaks a critical rule; the message says why, photo by photo.
    """
    examination = examine(bank, concept, embedder=embedder, today=today)
    if examination.refusal:
        raise UnusableReferences(examination.explain_refusal())
    return bank.load(ReferenceSet, examination.reference_set)


def examine(bank: Bank, concept: Concept, *, embedder: Embeds | None = None, today: date | None = None) -> Examination:
    """Judge a concept's pool and freeze a set if it passes; an unchanged pool is not judged twice.

    Args:
        bank: holds the pool; gets the results.
        concept: its policy sets every threshold.
        embedder: compares photos; None for the guard of the shipped model.
        today: the day on which the rights must hold; None for today (UTC).
    """
    if embedder is None:
        from seedbank.models import load_guard

        embedder = load_guard("parts")
    sample = _sample(bank, concept, today or datetime.now(UTC).date())
    siblings, drawn = _siblings(bank, concept, sample, embedder)
    inputs = _inputs(concept, sample, embedder.card, siblings)
    key = f"validations/inputs/{inputs}.json"
    try:
        examination = Examination.from_bytes(bank.store.get(key))
    except KeyError:
        examination = _examine(bank, concept, sample, siblings, drawn, embedder, inputs)
        bank.store.put_new(key, examination.to_bytes())
    _write_to_ledger(bank, examination)
    return examination


@dataclass(frozen=True)
class _Sample:
    """The photos of a pool that are judged, in the order of their digests."""

    pool: tuple[Reference, ...]
    faults: tuple[tuple[str, ...], ...]
    picks: Resolved
    of: int
    """How many photos the whole pool has."""


def _sample(bank: Bank, concept: Concept, day: date) -> _Sample:
    """All photos, or of a large pool the pinned ones and those with the lowest digests."""
    most, purpose = concept.policy.references.max_judged, concept.policy.purpose
    whole = sorted(load_photos(bank, concept.name), key=lambda item: item.photo)
    picks = resolve(concept.references, whole, most=concept.policy.references.max_photos)
    others = [item for item in whole if item.photo not in picks.pinned]
    judged = {*picks.pinned, *(item.photo for item in others[: most - len(picks.pinned)])}
    pool = tuple(item for item in whole if item.photo in judged)
    faults = tuple(tuple(check_reference(item, purpose=purpose, today=day)) for item in pool)
    return _Sample(pool, faults, picks, of=len(whole))


def _siblings(bank: Bank, concept: Concept, sample: _Sample, embedder: Embeds) -> tuple[Siblings, str]:
    """What to compare the photos with; nothing is drawn for a pool too small to have a mean."""
    fewest = concept.policy.references.min_peers
    if concept.siblings and len(sample.pool) < fewest:
        return Siblings(missing=f"fewer than {fewest} photos to compare"), ""
    return find_siblings(bank, concept, embedder)


def _inputs(concept: Concept, sample: _Sample, card: ModelCard, siblings: Siblings) -> str:
    parts = {
        "rules": RULES,
        "code": __version__,
        "concept": concept.digest,
        "embedder": card.content,
        "siblings": siblings.missing if siblings.centroids is None else siblings.centroids.tolist(),
        "pool": sample.of,
        "photos": [[item.digest, *found] for item, found in zip(sample.pool, sample.faults, strict=True)],
    }
    return sha256(canonical_json(parts))


def _examine(
    bank: Bank, concept: Concept, sample: _Sample, siblings: Siblings, drawn: str, embedder: Embeds, inputs: str
) -> Examination:
    policy, pool = concept.policy, sample.pool
    photos, whole = photo_suite(policy), set_suite(policy)
    looks = [_look(bank, item, embedder) for item in pool]
    measured = measure_photos(pool, looks, sample.faults, policy, picks=sample.picks, siblings=siblings)
    with sitting(concept.name) as judge:
        checks = judge.judge(photos, measured.rows)
        out = broken_by(checks, "critical")
        choice = measured.choose(out, policy.references.max_photos)
        row = measured.measure_set(choice, out)
        set_checks = judge.judge(whole, [row])
        docs, version = judge.docs(), judge.version
    record = Checks(subject=concept.name, inputs=inputs, great_expectations=version, checks=(*checks, *set_checks))
    bank.store.put_new(f"validations/{record.digest}.json", record.to_bytes())
    refusals = [*explain_rows(photos, checks, len(pool)), *explain(whole, set_checks, row, "critical")]
    examination = Examination(
        concept=concept.name,
        validation=record.digest,
        refusal="; ".join(refusals),
        warnings=(*_left_out(sample), *explain(whole, set_checks, row, "warning")),
        advice=advise(measured, choice, out, policy.references),
        unmeasured=_unmeasured(measured, row, siblings),
        assessments=assess(measured, photos, checks, choice),
        measures=numbers(row),
    )
    if not examination.refusal:
        frozen = _freeze(bank, concept, tuple(pool[place] for place, _ in choice), examination)
        examination = examination.model_copy(update={"reference_set": frozen})
    suites = {PHOTOS: photos, SET: whole}
    pictures = [bank.store.get(f"{drawn}/{number}.png") for number in range(len(siblings.prompts))] if drawn else []
    page = write_report(
        Findings(concept, examination, measured, choice, siblings, suites, record.checks, sibling_pictures=pictures)
    )
    _keep(bank, examination, page, docs)
    return examination


def _look(bank: Bank, reference: Reference, embedder: Embeds) -> Look:
    """Everything that is seen of one photo; nothing of it stays in memory but that."""
    image = working_image(bank, reference)
    (vector,) = embed(embedder, [image])
    return Look.at(image, vector, measures=measures_of(bank.store, reference, lambda: image))


def _left_out(sample: _Sample) -> list[str]:
    if sample.of == len(sample.pool):
        return []
    return [
        f"only {len(sample.pool):,} of {sample.of:,} photos were judged (policy.references.max_judged); the others have no assessment"
    ]


def _unmeasured(measured: MeasuredPhotos, row: Mapping[str, object], siblings: Siblings) -> tuple[str, ...]:
    told = []
    if siblings.missing:
        told.append(f"agreement with siblings was not measured: {siblings.missing}")
    if np.isnan(float(str(row["ground_spread"]))) and measured.rows:
        told.append(
            "backgrounds, colours and poses were not measured: fewer than two subjects could be told from their background"
        )
    return tuple(told)


def _keep(bank: Bank, examination: Examination, page: bytes, docs: Mapping[str, bytes]) -> None:
    """Keep what people look at. The first page last: killed before it, the next run writes a whole site of its own."""
    bank.store.put_new(examination.report, page)
    for path in sorted(docs, key=lambda path: path == "index.html"):
        bank.store.put_new(examination.data_docs.replace("index.html", path), docs[path])


def _freeze(bank: Bank, concept: Concept, chosen: tuple[Reference, ...], examination: Examination) -> str:
    frozen = ReferenceSet(
        concept=concept.name,
        concept_digest=concept.digest,
        references=chosen,
        assessments=examination.assessments,
        measures=examination.measures,
        validation=examination.validation,
    )
    return bank.keep(frozen).digest


def _write_to_ledger(bank: Bank, examination: Examination) -> None:
    """One entry for each change of the outcome: a pool that goes back to an earlier state is on record again, a second run is not."""
    event, key = "references.validated", examination.reference_set
    if examination.refusal:
        event, key = "references.refused", examination.validation
    *_, newest = [None, *bank.ledger.entries(concept=examination.concept, event="references")]
    if newest is not None and (newest.event, newest.data["key"]) == (event, key):
        return
    bank.record(
        event,
        concept=examination.concept,
        key=key,
        validation=examination.validation,
        reference_set=examination.reference_set,
        photos=int(examination.measures["photos"]),
        reason=examination.refusal,
    )
