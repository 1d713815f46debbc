"""References: photos addressed by content, their rights, and the frozen set that guides a search."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

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


class Assessment(Record):
    """Why a photo is in or out of the set, in plain words."""

    photo: str = Field(pattern=DIGEST)
    name: str
    chosen: bool
    reasons: tuple[str, ...]
    measures: dict[str, float]


class ReferenceSet(KeptRecord):
    """The frozen, ordered choice of references of a concept, with the results that allowed it.

    Attributes:
        concept: name of the concept.
        concept_digest: digest of the concept file's content.
        references: the chosen photos, in order.
        assessments: one for each photo of the pool, chosen or not.
        measures: measures of the set as a whole.
        validation: digest of the Great Expectations result this choice passed.
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


def load_photos(bank: Bank, concept: str) -> tuple[Reference, ...]:
    """All references of a concept's pool, in the order of their digests."""
    return tuple(Reference.from_bytes(bank.store.get(key)) for key in bank.store.keys(f"photos/{concept}/"))


class Examination(Record):
    """What came of a pool: a reference set, or a refusal; and the assessment on every photo."""

    concept: str
    validation: str
    """Digest of the checks."""
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
        """Why the pool was refused, with a line for each photo that is out."""
        lines = [
            f"  {assessment.name}: {'; '.join(assessment.reasons)}"
            for assessment in self.assessments
            if not assessment.chosen
        ]
        return "\n".join([f"{self.concept}: {self.refusal}", *lines])
