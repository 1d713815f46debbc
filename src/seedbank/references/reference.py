"""References: photos addressed by content, their rights, and the frozen set that guides a search."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from seedbank.records import Record

DIGEST = r"^[0-9a-f]{64}$"


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


class Verdict(Record):
    """Why a photo is in or out of the set, in plain words."""

    photo: str = Field(pattern=DIGEST)
    name: str
    chosen: bool
    reasons: tuple[str, ...]
    measures: dict[str, float]


class ReferenceSet(Record):
    """The frozen, ordered choice of references of a concept, with the results that allowed it.

    Attributes:
        concept: name of the concept.
        concept_digest: digest of the concept file's content.
        references: the chosen photos, in order.
        verdicts: one for each photo of the pool, chosen or not.
        measures: measures of the set as a whole.
        validation: digest of the Great Expectations result this choice passed.
    """

    concept: str
    concept_digest: str
    references: tuple[Reference, ...]
    verdicts: tuple[Verdict, ...]
    measures: dict[str, float]
    validation: str
