"""Validation: judges the photos of a concept and freezes the reference set that guides its search.

1. The photos to judge are loaded, with what forbids using each of them: all, or of very many a sample that stays the same as they grow.
2. What the model draws for the concept's siblings is found, or drawn once.
3. A digest of everything that goes in says whether exactly this was judged before; then its outcome is returned.
4. Every photo is measured: by itself, against the others, against the siblings. Photos are opened one after another, so memory does not
   grow with their size.
5. The photo suite judges the photos. Of those that broke no critical rule, up to ``max_photos`` are chosen that stand best for all of them,
   after those that are pinned; the set suite judges the choice as a whole.
6. If that holds the set is frozen; else it is refused with the reasons. Either way the checks, the assessment of each photo, the report and
   the Data Docs are kept, and a change of the outcome goes into the ledger.

Each step reads its input once and hands on what it found. In the store::

    validations/<digest>.json              the checks (Checks); a set names its digest
    validations/inputs/<key>.json          what came of the photos (Examination), by the digest of everything that went in; written last
    validations/<digest>/report.html       where they were refused, with data-docs/… beside it
    reference-sets/<digest>.json           a frozen set (ReferenceSet)
    reference-sets/<digest>/report.html    of a frozen set, with data-docs/… beside it

Every gate fails closed. A photo that cannot be opened, an expectation that Great Expectations cannot evaluate and a model that cannot draw
the siblings end the validation with an error: nothing is frozen, and an earlier set stays what it is. The same photos under the same
policy, rights and guard give the same set; time enters only where rights begin or end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from seedbank import __version__
from seedbank.bank import Bank
from seedbank.concepts import Concept
from seedbank.errors import OutsideError, UnusableReferences, UsageError
from seedbank.models.card import ModelCard
from seedbank.models.files import judge_card
from seedbank.models.profiles import ModelProfile
from seedbank.records import canonical_json, sha256
from seedbank.references.choosing.advice import advise
from seedbank.references.choosing.assessments import assess, broken_by, explain, explain_rows
from seedbank.references.choosing.choice import Choice, choose_photos, measure_set
from seedbank.references.judging.embedding import PhotoEmbedder, embed_images
from seedbank.references.judging.features import PhotoFeatures
from seedbank.references.judging.measured_photos import MeasuredPhotos, measure_photos, numbers
from seedbank.references.judging.picks import ResolvedPicks, resolve_picks
from seedbank.references.judging.siblings import Siblings, find_siblings, load_sibling_images
from seedbank.references.judging.strangers import other_things
from seedbank.references.judging.suite_runner import SuiteRunner
from seedbank.references.judging.suites import PHOTOS, SET, Suite, photo_suite, set_suite
from seedbank.references.measures.kept import load_measures
from seedbank.references.photos import working_image
from seedbank.references.records import (
    Check,
    Checks,
    Examination,
    Reference,
    ReferenceSet,
    load_photos,
)
from seedbank.references.report.page import ReportContent, write_report
from seedbank.references.rights import check_reference

if TYPE_CHECKING:
    from torch import Tensor

    from seedbank.models.judges import Embedder

RULES = "6"
"""Raise when measures or rules change their meaning: photos are then judged anew."""


def validate(
    bank: Bank,
    concept: Concept,
    *,
    requested_by: Collection[str] = (),
    embedder: PhotoEmbedder | None = None,
    today: date | None = None,
) -> ReferenceSet:
    """The frozen reference set of a concept's photos. Takes the same arguments as :func:`examine`, and raises the same.

    Raises:
        UnusableReferences: too few photos are usable, or the set breaks a critical rule; the message says why, photo by photo.
    """
    examination = examine(bank, concept, requested_by=requested_by, embedder=embedder, today=today)
    if examination.refusal:
        raise UnusableReferences(examination.explain_refusal())
    return bank.load(ReferenceSet, examination.reference_set)


def examine(
    bank: Bank,
    concept: Concept,
    *,
    requested_by: Collection[str] = (),
    embedder: PhotoEmbedder | None = None,
    today: date | None = None,
) -> Examination:
    """Judge a concept's photos and freeze a set if they pass; unchanged photos are not judged twice.

    Args:
        bank: holds the photos; gets the results.
        concept: its policy sets every threshold.
        requested_by: ids of who asks for it, beside the actor; none of them may review images of the concept.
        embedder: compares photos; None for the guard of the concept's model profile.
        today: the day on which the rights must hold; None for today (UTC).

    Raises:
        UsageError: a pin or ban means no photo or several, or the profile's guard or the siblings' model cannot be used.
        OutsideError: the model cannot draw the concept's siblings, or the store failed. Nothing was frozen.
    """
    # First, also where nothing is left to do: whoever asks may not review.
    bank.request("references", concept=concept.name, subject=concept.digest, requested_by=requested_by)
    profile = bank.profile(concept.model)
    embedder = embedder or _ProfileGuard(profile, bank.settings.device)
    sample = _load_sample(bank, concept, today or datetime.now(UTC).date())
    # Before the digest, of which they are part: a model that cannot draw them ends it here, with nothing frozen.
    siblings = find_siblings(bank, concept, profile, embedder, photos=len(sample.photos))
    inputs = _digest_of_inputs(concept, sample, embedder.card, siblings)
    key = f"validations/inputs/{inputs}.json"
    try:
        examination = Examination.from_bytes(bank.store.get(key))
    except KeyError:
        judged = _judge(bank, concept, sample, siblings, embedder)
        examination = _conclude(bank, concept, sample, judged, inputs=inputs)
        bank.store.put_new(key, examination.to_bytes())
    # Also where it was judged before: whoever kept the examination may have been killed before this.
    _write_to_ledger(bank, examination)
    return examination


@dataclass
class _ProfileGuard:
    """The guard of a model profile. Its weights are loaded when it first embeds: photos that were judged before need none.

    There is no other guard to fall back on: one that knows nothing of such photos would judge them all the same.
    """

    profile: ModelProfile
    device: str

    @cached_property
    def card(self) -> ModelCard:
        with self._explained():
            return judge_card(self.profile.guard, "guard")

    @cached_property
    def _loaded(self) -> Embedder:
        from seedbank.models.device import choose_device
        from seedbank.models.judges import load_guard

        with self._explained():
            return load_guard(*self.profile.guard, device=choose_device(self.device))

    def __call__(self, images01: Tensor) -> Tensor:
        from seedbank.models.judges import check_numbers

        found = self._loaded(images01)
        if not bool(found.isfinite().all()):
            with self._explained():
                check_numbers(self._loaded, images01, what="guard")
        return found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (UsageError, OutsideError) as error:
            raise type(error)(
                f"cannot compare photos without the guard of the model profile {self.profile.name!r}: {error}. `seedbank models fetch "
                f"{self.profile.name}` fetches it; nothing was judged"
            ) from error


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """The photos that are judged, in the order of their digests.

    Attributes:
        photos: the photos.
        faults: what forbids using each of them today, in words.
        picks: what the steward decided.
        of: how many photos the concept has.
    """

    photos: tuple[Reference, ...]
    faults: tuple[tuple[str, ...], ...]
    picks: ResolvedPicks
    of: int


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What was found about a sample.

    Attributes:
        measured: the photos as rows of numbers.
        choice: the chosen ones.
        out: digests of the photos that are not usable.
        set_row: what the chosen photos measure together.
        siblings: what the photos were compared with.
        suites: the rules, by table.
        photo_checks, set_checks: how they came out.
        data_docs: the pages of Great Expectations, by relative path.
        great_expectations: its version.
    """

    measured: MeasuredPhotos
    choice: Choice
    out: set[str]
    set_row: Mapping[str, Any]
    siblings: Siblings
    suites: Mapping[str, Suite]
    photo_checks: tuple[Check, ...]
    set_checks: tuple[Check, ...]
    data_docs: Mapping[str, bytes]
    great_expectations: str

    @property
    def checks(self) -> tuple[Check, ...]:
        """All of them, those of the photos first."""
        return (*self.photo_checks, *self.set_checks)


def _load_sample(bank: Bank, concept: Concept, day: date) -> _Sample:
    """All photos; of more than ``max_judged`` the pinned ones and those with the lowest digests."""
    policy = concept.policy.references
    photos = load_photos(bank, concept.name)  # in the order of their digests
    picks = resolve_picks(concept.references, photos, most=policy.max_photos)
    others = [item.photo for item in photos if item.photo not in picks.pinned]
    judged = {*picks.pinned, *others[: policy.max_judged - len(picks.pinned)]}
    sample = tuple(item for item in photos if item.photo in judged)
    faults = tuple(tuple(check_reference(item, purpose=concept.policy.purpose, today=day)) for item in sample)
    return _Sample(photos=sample, faults=faults, picks=picks, of=len(photos))


def _digest_of_inputs(concept: Concept, sample: _Sample, card: ModelCard, siblings: Siblings) -> str:
    """Digest of everything that decides what is found: the same digest, the same examination."""
    parts = {
        "rules": RULES,
        "code": __version__,
        "concept": concept.digest,
        "embedder": card.content,
        "siblings": siblings.not_compared if siblings.centroids is None else siblings.centroids.tolist(),
        "of": sample.of,
        # Faults instead of the day: an examination holds until rights begin or end.
        "photos": [[item.digest, *found] for item, found in zip(sample.photos, sample.faults, strict=True)],
    }
    return sha256(canonical_json(parts))


def _judge(bank: Bank, concept: Concept, sample: _Sample, siblings: Siblings, embedder: PhotoEmbedder) -> _Judged:
    """Measure the photos, let both suites judge, and choose in between (steps 4 and 5)."""
    policy = concept.policy
    suites = {PHOTOS: photo_suite(policy), SET: set_suite(policy)}
    features = [_features(bank, item, embedder) for item in sample.photos]
    others = embed_images(embedder, other_things() if sample.photos else ())
    measured = measure_photos(
        sample.photos, features, sample.faults, policy, picks=sample.picks, siblings=siblings, others=others
    )
    with SuiteRunner(concept.name) as runner:
        photo_checks = runner.run(suites[PHOTOS], measured.rows)
        out = broken_by(photo_checks, "critical")
        choice = choose_photos(measured, out, policy.references.max_photos)
        set_row = measure_set(measured, choice, out)
        set_checks = runner.run(suites[SET], [set_row])
        return _Judged(
            measured=measured,
            choice=choice,
            out=out,
            set_row=set_row,
            siblings=siblings,
            suites=suites,
            photo_checks=photo_checks,
            set_checks=set_checks,
            data_docs=runner.data_docs(),
            great_expectations=runner.version,
        )


def _features(bank: Bank, reference: Reference, embedder: PhotoEmbedder) -> PhotoFeatures:
    """What is kept of one photo; its image is opened once and does not stay in memory."""
    image = working_image(bank, reference)
    (vector,) = embed_images(embedder, [image])
    return PhotoFeatures.of(image, vector, measures=load_measures(bank.store, reference, lambda: image))


def _conclude(bank: Bank, concept: Concept, sample: _Sample, judged: _Judged, *, inputs: str) -> Examination:
    """Freeze or refuse, in words, and keep everything that people look at (step 6)."""
    photos, whole = judged.suites[PHOTOS], judged.suites[SET]
    checks = Checks(
        subject=concept.name,
        inputs=inputs,
        great_expectations=judged.great_expectations,
        checks=judged.checks,
    )
    bank.store.put_new(f"validations/{checks.digest}.json", checks.to_bytes())
    refusals = [
        *explain_rows(photos, judged.photo_checks, len(sample.photos)),
        *explain(whole, judged.set_checks, judged.set_row, "critical"),
    ]
    examination = Examination(
        concept=concept.name,
        validation=checks.digest,
        refusal="; ".join(refusals),
        warnings=(*_left_out(sample), *explain(whole, judged.set_checks, judged.set_row, "warning")),
        advice=advise(judged.measured, judged.choice, judged.out, concept.policy.references),
        unmeasured=_unmeasured(judged),
        assessments=assess(judged.measured, photos, judged.photo_checks, judged.choice),
        measures=numbers(judged.set_row),
    )
    if not examination.refusal:
        # Rows and sample are both in the order of digests, so an index means the same photo.
        chosen = tuple(sample.photos[item.index] for item in judged.choice)
        examination = examination.model_copy(update={"reference_set": _freeze(bank, concept, chosen, examination)})
    content = ReportContent(
        concept=concept,
        examination=examination,
        photos=judged.measured,
        choice=judged.choice,
        siblings=judged.siblings,
        suites=judged.suites,
        checks=judged.checks,
        sibling_images=load_sibling_images(bank, judged.siblings),
    )
    _keep_pages(bank, examination, write_report(content), judged.data_docs)
    return examination


def _left_out(sample: _Sample) -> list[str]:
    if sample.of == len(sample.photos):
        return []
    return [
        f"only {len(sample.photos):,} of {sample.of:,} photos were judged (policy.references.max_judged); the others have no assessment"
    ]


def _unmeasured(judged: _Judged) -> tuple[str, ...]:
    """What was not measured, and why."""
    found = []
    if judged.measured.rows and judged.measured.scale.not_measured:
        found.append(f"strangers were not measured: {judged.measured.scale.not_measured}")
    if judged.siblings.not_compared:
        found.append(f"agreement with siblings was not measured: {judged.siblings.not_compared}")
    if judged.measured.rows and "ground_spread" not in numbers(judged.set_row):
        found.append(
            "backgrounds, colours and poses were not measured: fewer than two subjects could be told from their background"
        )
    return tuple(found)


def _keep_pages(bank: Bank, examination: Examination, report: bytes, data_docs: Mapping[str, bytes]) -> None:
    """Keep what people look at. The first page last: killed before it, the next run writes a whole site of its own."""
    bank.store.put_new(examination.report, report)
    for path in sorted(data_docs, key=lambda path: path == "index.html"):
        bank.store.put_new(examination.data_docs.replace("index.html", path), data_docs[path])


def _freeze(bank: Bank, concept: Concept, chosen: Sequence[Reference], examination: Examination) -> str:
    """Keep the set; its digest."""
    frozen = ReferenceSet(
        concept=concept.name,
        concept_digest=concept.digest,
        references=tuple(chosen),
        assessments=examination.assessments,
        measures=examination.measures,
        validation=examination.validation,
    )
    return bank.keep(frozen).digest


def _write_to_ledger(bank: Bank, examination: Examination) -> None:
    """One entry for each change of the outcome: photos that go back to an earlier state are on record again, a second run is not."""
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
