"""The records of references: photos addressed by content, their rights, what was set aside, how they were judged, and the frozen set that
guides a search; and the functions that load them. Nothing heavy is imported here.
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Literal

from pydantic import Field

from seedbank.bank import Bank, KeptRecord
from seedbank.errors import SeedbankError, UnusableReferences
from seedbank.evidence.ledger import Entry
from seedbank.records import DIGEST, Record


class Rights(Record):
    """What may be done with a photo, and who says so."""

    licence: str = Field(min_length=1)
    source: str = Field(min_length=1)
    cleared_by: str = Field(min_length=1)
    cleared_on: date
    expires: date | None = None
    purpose: tuple[str, ...] = Field(min_length=1)
    identifiable_people: bool = False
    consent: str | None = None
    """Where the consent of identifiable people is kept; required when there are any."""
    people_checked_by: str | None = None
    """Who looked at the photo and says that nobody in it can be identified: the other answer when something in it looks like a face."""


class Reference(Record):
    """One photo of a concept.

    ``photo`` is the SHA-256 of its original bytes; those lie under ``originals/<photo>`` and the working copy (upright,
    RGB, no metadata, PNG) under ``working/<photo>.png`` of the store.
    """

    photo: str = Field(pattern=DIGEST)
    concept: str
    name: str
    """File name at intake, for people; never used as an address."""
    working: str = Field(pattern=DIGEST)
    """SHA-256 of the working copy."""
    width: int
    height: int
    format: str
    faces: int = Field(default=0, ge=0)
    """How many places of the photo look like a face to a cascade: a question to a person, never an answer."""
    rights: Rights


class Quarantined(Record):
    """A file that intake set aside. ``photo`` is the SHA-256 of its bytes; of a file that was never read, of its name and size."""

    name: str
    concept: str
    photo: str = Field(pattern=DIGEST)
    reason: str
    size: int
    """Bytes; as listed, for a file that was never read."""
    kept: bool
    """Whether its bytes lie under ``quarantine/bytes/<photo>``."""


class Duplicate(Record):
    """A file with the bytes of a photo that the concept has under another name, ``of``."""

    name: str
    concept: str
    photo: str = Field(pattern=DIGEST)
    of: str


class Check(Record):
    """One expectation of Great Expectations and how it came out.

    Attributes:
        table: name of the suite, and of the table that it judged.
        rule: index of its rule in the suite.
        expectation: its type in Great Expectations.
        column: the measure; empty for a rule on the number of rows.
        minimum, maximum: the bounds, None for no bound.
        severity: a broken critical one puts a photo out or refuses the set; a warning does neither.
        success: whether it held.
        broken_by: names of the rows that broke it, in alphabetical order; none for a rule on the number of rows.
    """

    table: str
    rule: int
    expectation: str
    column: str
    minimum: float | None
    maximum: float | None
    severity: Literal["critical", "warning"]
    success: bool
    broken_by: tuple[str, ...]


class Checks(Record):
    """All checks of all tables: what a reference set names as its validation. Holds no time, so that equal photos give equal bytes."""

    subject: str
    inputs: str
    """Digest of everything that was judged."""
    great_expectations: str
    """Version of Great Expectations."""
    checks: tuple[Check, ...]


class Assessment(Record):
    """Why a photo is in or out of the set, in plain words."""

    photo: str = Field(pattern=DIGEST)
    name: str
    chosen: bool
    reasons: tuple[str, ...]
    """What decided that it is in or out, the most important first; never empty."""
    notes: tuple[str, ...] = ()
    """What else was found, and decided nothing."""
    measures: dict[str, float]

    @property
    def lines(self) -> tuple[str, ...]:
        """The reasons, then the notes, each marked as one."""
        return (*self.reasons, *(f"note: {note}" for note in self.notes))


class ReferenceSet(KeptRecord):
    """The frozen, ordered choice of references of a concept, with the results that allowed it.

    Attributes:
        concept: name of the concept.
        concept_digest: digest of the concept file's content.
        references: the chosen photos, in order.
        assessments: one for each photo that was judged, chosen or not.
        measures: measures of the set as a whole, by name (:data:`seedbank.references.measures.catalogue.SET`).
        validation: digest of the :class:`Checks` that this choice passed.
    """

    KIND: ClassVar[str] = "reference set"
    PLACE: ClassVar[str] = "reference-sets/{address}.json"
    EVENT: ClassVar[str] = "references"
    ADVICE: ClassVar[str] = "run `seedbank validate {concept}` first"
    MISSING: ClassVar[type[SeedbankError]] = UnusableReferences

    concept_digest: str
    references: tuple[Reference, ...]
    assessments: tuple[Assessment, ...]
    measures: dict[str, float]
    validation: str

    @classmethod
    def announced(cls, entry: Entry) -> str:
        """The set that a validation froze.

        Raises:
            UnusableReferences: it refused the photos.
        """
        if entry.event != "references.validated":
            raise UnusableReferences(
                f"the photos of {entry.concept} were refused on {entry.time}: {entry.data['reason']}"
            )
        return str(entry.data["reference_set"])


def photo_key(concept: str, photo: str) -> str:
    """Key of the record of a concept's photo; ``photo`` is the SHA-256 of its bytes."""
    return f"photos/{concept}/{photo}.json"


def load_photo(bank: Bank, concept: str, photo: str) -> Reference | None:
    """The concept's photo with this digest as it is on record now; None when the concept has none."""
    try:
        return Reference.from_bytes(bank.store.get(photo_key(concept, photo)))
    except KeyError:
        return None


def load_photos(bank: Bank, concept: str) -> tuple[Reference, ...]:
    """All photos of a concept, usable or not, in the order of their digests."""
    return tuple(Reference.from_bytes(bank.store.get(key)) for key in bank.store.keys(f"photos/{concept}/"))


class Examination(Record):
    """What came of a concept's photos: a reference set, or a refusal; and the assessment of every photo that was judged."""

    concept: str
    validation: str
    """Digest of the :class:`Checks`."""
    reference_set: str = ""
    """Digest of the frozen set; empty when it was refused."""
    refusal: str = ""
    """Why there is no set; empty when there is one."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the set as a whole without refusing it."""
    advice: tuple[str, ...] = ()
    """What to photograph next."""
    unmeasured: tuple[str, ...] = ()
    """What could not be measured, and why."""
    assessments: tuple[Assessment, ...]
    measures: dict[str, float]

    @property
    def folder(self) -> str:
        """Key prefix of what people look at."""
        return f"reference-sets/{self.reference_set}" if self.reference_set else f"validations/{self.validation}"

    @property
    def data_docs(self) -> str:
        """Key of the first page of the Data Docs."""
        return f"{self.folder}/data-docs/index.html"

    @property
    def report(self) -> str:
        """Key of the report."""
        return f"{self.folder}/report.html"

    def explain_refusal(self) -> str:
        """Why there is no set, with a line for each photo that is not chosen."""
        lines = [
            f"  {assessment.name}: {'; '.join(assessment.lines)}"
            for assessment in self.assessments
            if not assessment.chosen
        ]
        return "\n".join([f"{self.concept}: {self.refusal}", *lines])
