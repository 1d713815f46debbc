"""Validation: judges the pool of a concept and freezes the reference set that guides its search.

1. Every photo of the pool is measured (rights, quality, likeness to the others) and judged by the photo suite.
2. Of the photos that broke no critical rule, up to ``max_photos`` are chosen that stand best for the pool.
3. The choice is judged as a whole by the set suite. If that holds, it is frozen; else it is refused with the reasons.

Either way the checks, the verdict on each photo and the Data Docs are kept::

    validations/<digest>.json              the checks (Checks); a set names its digest
    validations/inputs/<key>.json          what came of a pool (Examination), by the digest of everything that went in; written last
    validations/<digest>/data-docs/…       of a refused pool
    reference-sets/<digest>.json           a frozen set (ReferenceSet)
    reference-sets/<digest>/data-docs/…    of a frozen set

The same pool under the same policy, rights and guard gives the same set. Time enters only where rights begin or end.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from seedbank import __version__
from seedbank.bank import Bank
from seedbank.concepts import Concept
from seedbank.errors import StoreError, UnusableReferences
from seedbank.records import Record, canonical_json, sha256
from seedbank.references.intake import load_pool
from seedbank.references.judging import Checks, sitting
from seedbank.references.measured import measures_of
from seedbank.references.pool import Floats, broken_by, explain, measure_pool
from seedbank.references.reference import Reference, ReferenceSet, Verdict
from seedbank.references.rights import check_reference
from seedbank.references.suites import photo_suite, set_suite
from seedbank.trials import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Embeds",
    "Examination",
    "examine",
    "latest_reference_set",
    "load_reference_set",
    "validate",
    "working_image",
]

RULES = "1"
"""Raise when measures or rules change their meaning: a pool is then judged anew."""


class Embeds(Protocol):
    """A vision model that turns pictures into unit vectors: ``[B, 3, H, W]`` in 0..1 to ``[B, D]``."""

    @property
    def card(self) -> ModelCard:
        """Which model it is."""

    def __call__(self, images01: Tensor) -> Tensor:
        """Embed a batch."""


class Examination(Record):
    """What came of a pool: a reference set, or a refusal; and the verdict on every photo."""

    concept: str
    validation: str
    """Digest of the checks."""
    reference_set: str = ""
    """Digest of the frozen set; empty when it was refused."""
    refusal: str = ""
    """Why there is no set; empty when there is one."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the set as a whole without refusing it."""
    verdicts: tuple[Verdict, ...]
    measures: dict[str, float]

    @property
    def data_docs(self) -> str:
        """Key of the first page of the Data Docs."""
        folder = f"reference-sets/{self.reference_set}" if self.reference_set else f"validations/{self.validation}"
        return f"{folder}/data-docs/index.html"

    def explain_refusal(self) -> str:
        """Why the pool was refused, with a line for each photo that is out."""
        lines = [f"  {verdict.name}: {'; '.join(verdict.reasons)}" for verdict in self.verdicts if not verdict.chosen]
        return "\n".join([f"{self.concept}: {self.refusal}", *lines])


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
    return load_reference_set(bank, examination.reference_set)


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
    pool = load_pool(bank, concept.name)
    day = today or datetime.now(UTC).date()
    faults = [check_reference(item, purpose=concept.policy.purpose, today=day) for item in pool]
    inputs = _inputs(concept, pool, faults, embedder.card)
    key = f"validations/inputs/{inputs}.json"
    try:
        examination = Examination.from_bytes(bank.store.get(key))
    except KeyError:
        examination = _examine(bank, concept, pool, faults, embedder, inputs)
        bank.store.put_new(key, examination.to_bytes())
    _write_to_ledger(bank, examination)
    return examination


def load_reference_set(bank: Bank, digest: str) -> ReferenceSet:
    """The frozen set with this digest.

    Raises:
        UnusableReferences: there is none.
        StoreError: its bytes do not have this digest.
    """
    try:
        found = ReferenceSet.from_bytes(bank.store.get(f"reference-sets/{digest}.json"))
    except KeyError:
        raise UnusableReferences(
            f"no reference set {digest} in {bank.store.url}; run `seedbank validate` first"
        ) from None
    if found.digest != digest:
        raise StoreError(
            f"expected reference set {digest}, got {found.digest}; the object was changed in {bank.store.url}"
        )
    return found


def latest_reference_set(bank: Bank, concept_name: str) -> ReferenceSet:
    """The set that the newest validation of the concept froze.

    Raises:
        UnusableReferences: it was never validated, or the newest validation refused its pool.
    """
    *_, newest = [None, *bank.ledger.entries(concept=concept_name, event="references")]
    if newest is None:
        raise UnusableReferences(f"no reference set for {concept_name}; run `seedbank validate {concept_name}` first")
    if newest.event != "references.validated":
        raise UnusableReferences(f"the photos of {concept_name} were refused on {newest.time}: {newest.data['reason']}")
    return load_reference_set(bank, newest.data["reference_set"])


def working_image(bank: Bank, reference: Reference) -> Image.Image:
    """The working copy of a photo: upright, RGB, without metadata.

    Raises:
        StoreError: it is not there, or not what was made of the photo at intake.
    """
    try:
        data = bank.store.get(f"working/{reference.photo}.png")
    except KeyError:
        raise StoreError(
            f"no working copy of {reference.name} in {bank.store.url}; run `seedbank intake` again"
        ) from None
    if sha256(data) != reference.working:
        raise StoreError(f"the working copy of {reference.name} was changed in {bank.store.url}; restore it")
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return image.convert("RGB")


def _inputs(concept: Concept, pool: Sequence[Reference], faults: Sequence[list[str]], card: ModelCard) -> str:
    parts = {
        "rules": RULES,
        "code": __version__,
        "concept": concept.digest,
        "embedder": card.content,
        "photos": [[item.digest, *found] for item, found in zip(pool, faults, strict=True)],
    }
    return sha256(canonical_json(parts))


def _examine(
    bank: Bank, concept: Concept, pool: Sequence[Reference], faults: Sequence[list[str]], embedder: Embeds, inputs: str
) -> Examination:
    policy = concept.policy
    photos, whole = photo_suite(policy), set_suite(policy)
    images = [working_image(bank, item) for item in pool]
    known = [measures_of(bank.store, item, lambda image=image: image) for item, image in zip(pool, images, strict=True)]  # type: ignore[misc]
    measured = measure_pool(pool, images, faults, embed(embedder, images), policy, measures=known)
    with sitting(concept.name) as judge:
        checks = judge.judge(photos, measured.rows)
        out = broken_by(checks, "critical")
        choice = measured.choose(out, policy.references.max_photos)
        row = measured.measure_set(choice, usable=len(pool) - len(out))
        set_checks = judge.judge(whole, [row])
        docs, version = judge.docs(), judge.version
    record = Checks(subject=concept.name, inputs=inputs, great_expectations=version, checks=(*checks, *set_checks))
    bank.store.put_new(f"validations/{record.digest}.json", record.to_bytes())
    examination = Examination(
        concept=concept.name,
        validation=record.digest,
        refusal="; ".join(explain(whole, set_checks, row, "critical")),
        warnings=tuple(explain(whole, set_checks, row, "warning")),
        verdicts=measured.verdicts(photos, checks, choice),
        measures={name: value for name, value in row.items() if isinstance(value, float)},
    )
    if not examination.refusal:
        frozen = _freeze(bank, concept, tuple(pool[place] for place, _ in choice), examination)
        examination = examination.model_copy(update={"reference_set": frozen})
    # The first page last: killed before it, the next run writes a whole site of its own.
    for path in sorted(docs, key=lambda path: path == "index.html"):
        bank.store.put_new(examination.data_docs.replace("index.html", path), docs[path])
    return examination


def embed(embedder: Embeds, images: Sequence[Image.Image]) -> Floats:
    """Unit vectors of pictures of any size, shape (n, d), float64."""
    import torch

    if not images:
        return np.zeros((0, 1))
    with torch.inference_mode():
        made = [
            embedder(torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)[None])
            for image in images
        ]
    return torch.cat(made).double().numpy()


def _freeze(bank: Bank, concept: Concept, chosen: tuple[Reference, ...], examination: Examination) -> str:
    frozen = ReferenceSet(
        concept=concept.name,
        concept_digest=concept.digest,
        references=chosen,
        verdicts=examination.verdicts,
        measures=examination.measures,
        validation=examination.validation,
    )
    bank.store.put_new(f"reference-sets/{frozen.digest}.json", frozen.to_bytes())
    return frozen.digest


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
