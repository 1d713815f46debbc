"""Clearance: whether photos that were chosen may still be used today. Asked at review and again at publication."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from seedbank.bank import Bank
from seedbank.errors import UnusableReferences
from seedbank.references.records import Reference, load_photo
from seedbank.references.rights import check_reference


def cleared(
    bank: Bank, concept: str, references: Iterable[Reference], *, today: date | None = None
) -> tuple[Reference, ...]:
    """The references with their rights as they stand now, in the order given.

    Args:
        bank: holds the photos' records with their rights, and the concept file with the purpose.
        concept: name of the concept.
        references: the photos that were chosen.
        today: the day on which rights must hold; None for today (UTC).

    Raises:
        UnusableReferences: one is not among the concept's photos any more, or its rights do not hold; the message says whom to ask.
    """
    day, purpose = today or datetime.now(UTC).date(), bank.concept(concept).policy.purpose
    found, faults = [], []
    for item in references:
        # The record as it is now: what a set or a dossier holds is the rights of the day it was frozen.
        now = load_photo(bank, concept, item.photo)
        found.append(now or item)
        why = check_reference(now, purpose=purpose, today=day) if now else ["not among the concept's photos any more"]
        faults += [f"{item.name}: {fault}" for fault in why]
    if faults:
        raise UnusableReferences(f"nothing of {concept} may be published: {'; '.join(faults)}")
    return tuple(found)
