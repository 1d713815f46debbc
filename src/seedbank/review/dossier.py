"""Dossiers: what reviewers see, frozen before review. A decision is bound to a dossier's digest."""

from __future__ import annotations

from seedbank.records import Record
from seedbank.references.reference import Reference
from seedbank.trials import Candidate, Pool


class Dossier(Record):
    """References, plain-seed images and accepted candidates side by side, with scores and flags.

    Its pictures lie in the store: references under ``working/<photo>.png``, all others under ``<trial folder>/images/<image>.png``.
    ``dossiers/<digest>.json`` holds the dossier itself.
    """

    concept: str
    prompt: str
    trial: str
    """The trial's key."""
    trial_digest: str
    reference_set: str
    requested_by: tuple[str, ...]
    references: tuple[Reference, ...]
    plain: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]
    pool: Pool
    flags: tuple[str, ...]
    """What a reviewer should know: few references, a guard that is not sure, rights about to expire."""
