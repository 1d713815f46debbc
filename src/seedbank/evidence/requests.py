"""Requests: who asked for what, by the ledger. Whoever asked for images of a concept, at any stage, may not review images of that concept.

A request is an entry of its own (``request.trial``), written before anything is done about it and also when there is nothing left to do.
Who is barred is read from these entries whenever it matters, at each answer and again at publication; no record holds a copy that could
be older than the ledger.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

from seedbank.evidence.ledger import Entry

Stage = Literal["intake", "references", "trial", "expansion", "dossier", "review"]
"""What can be asked for: take photos in, judge them, search, expand a find, freeze a dossier, open its review."""

_MACHINES = ("airflow:", "schedule:")
_PREFIXES = ("cli:", "scripted:")


def event_of(stage: Stage) -> str:
    """The name of the entry that says that somebody asked for ``stage``."""
    return f"request.{stage}"


def people(names: Iterable[str]) -> tuple[str, ...]:
    """Who of ``names`` is a person, each once and sorted: no DAG and no schedule, and without the mark of where they typed."""
    # `cli:dora` and `dora` are one person: where she typed it must not unbar her.
    found = {_without_prefix(name.strip()) for name in names if not name.startswith(_MACHINES)}
    return tuple(sorted(name for name in found if name))


def requesters(entries: Iterable[Entry], *, until: int | None = None) -> frozenset[str]:
    """Everyone who asked for something, by ``entries`` (of one concept) up to number ``until``; None for all of them."""
    asked = (
        entry for entry in entries if entry.event.startswith("request.") and (until is None or entry.number <= until)
    )
    return frozenset(who for entry in asked for who in entry.data["requested_by"])


def identity(name: str) -> str:
    """``name`` as it is compared: two spellings that differ in case, surrounding space or Unicode form mean one person."""
    # NFKC (Unicode Annex 15) and full case folding: `ﬁ` and `fi`, `ß` and `ss` are one spelling.
    return unicodedata.normalize("NFKC", name).strip().casefold()


def asked_as(identities: Iterable[str], asked: Iterable[str]) -> str:
    """The name under which somebody who is known by ``identities`` is among those who ``asked``, or an empty string."""
    # A login or address that somebody does not have is empty, and must match nobody.
    known = {identity(name) for name in identities} - {""}
    return next((name for name in sorted(asked) if identity(name) in known), "")


def _without_prefix(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)
