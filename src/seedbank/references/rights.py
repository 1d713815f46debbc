"""Rights: who allows a photo to be used, for what, and until when. Read from a YAML sidecar, ``photo.jpg.yaml``, or from a row of a table
(:mod:`seedbank.references.intake.tables`)."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import ValidationError

from seedbank.errors import RefusedError
from seedbank.references.records import Reference, Rights

MAX_SIDECAR_BYTES = 65_536
"""A sidecar is a dozen lines; anything longer was not written by a person."""


class NoRights(RefusedError):
    """There are no rights on record for a photo; the message says what is missing and who can mend it."""


def parse_sidecar(data: bytes) -> Rights:
    """Rights from the bytes of a sidecar.

    Raises:
        NoRights: not YAML, or a field is missing or wrong.
    """
    if len(data) > MAX_SIDECAR_BYTES:
        raise NoRights(
            f"no rights on record: its sidecar has {len(data):,} bytes, at most {MAX_SIDECAR_BYTES:,} are read"
        )
    import yaml

    try:
        values = yaml.safe_load(data)
    # ValueError: YAML makes dates of what looks like one, and fails at 2026-02-30 so.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NoRights(
            f"no rights on record: its sidecar is not YAML ({type(error).__name__}); whoever wrote it must mend it"
        ) from error
    return rights_from(values, "its sidecar")


def rights_from(values: Any, where: str) -> Rights:
    """Rights from the fields of a sidecar or of a table's row; text is stripped and one purpose may stand without a list.

    ``where`` they stand is for people.

    Raises:
        NoRights: a field is missing, unknown or wrong; all of them are named.
    """
    if not isinstance(values, dict):
        raise NoRights(
            "no rights on record: expected a sidecar with the fields licence, source, cleared_by, cleared_on and purpose"
        )
    fields = {
        key: value.strip() if isinstance(value, str) else value for key, value in values.items() if isinstance(key, str)
    }
    if isinstance(fields.get("purpose"), str):
        fields["purpose"] = [fields["purpose"]]
    try:
        return Rights.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors())
        raise NoRights(
            f"no rights on record: {where} is not complete ({faults}); whoever cleared the photo must mend it"
        ) from error


def check_reference(reference: Reference, *, purpose: str, today: date) -> list[str]:
    """Everything that forbids using the photo: :func:`check_rights`, and a question about faces that nobody has answered."""
    question = face_question(reference)
    return [*check_rights(reference.rights, purpose=purpose, today=today), *([question] if question else [])]


def face_question(reference: Reference) -> str:
    """The question that faces in a photo raise, and who can answer it; empty when there are none or it is answered.

    A statement that nobody can be identified (``identifiable_people: false``) is what a form says by default, so it is no answer by itself:
    either there is consent, or a person who looked puts a name to it.
    """
    rights = reference.rights
    if not reference.faces or rights.consent or rights.people_checked_by or rights.identifiable_people:
        return ""
    count = "what may be a face" if reference.faces == 1 else f"what may be {reference.faces} faces"
    return (
        f"waits: it shows {count} and no consent is on record; {rights.cleared_by} adds where consent is kept (consent), or who looked and "
        "found nobody identifiable (people_checked_by)"
    )


def check_rights(rights: Rights, *, purpose: str, today: date) -> list[str]:
    """Everything that forbids using the photo for ``purpose`` on ``today``, in plain words that say who can mend it; empty: usable."""
    faults = []
    if rights.cleared_on > today:
        faults.append(
            f"rights cleared only from {rights.cleared_on}: until then it waits, or {rights.cleared_by} corrects the date"
        )
    # The day itself still counts.
    if rights.expires is not None and rights.expires < today:
        faults.append(
            f"rights expired on {rights.expires}: {rights.cleared_by} can renew {rights.licence} with {rights.source}"
        )
    if purpose not in rights.purpose:
        given = ", ".join(rights.purpose)
        faults.append(
            f"rights do not cover {purpose!r} (only {given}): {rights.cleared_by} can ask {rights.source} for it"
        )
    if rights.identifiable_people and not rights.consent:
        faults.append(
            f"shows identifiable people without consent on record: {rights.cleared_by} can add where their consent is kept"
        )
    return faults
