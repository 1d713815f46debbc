"""The review board's pages, made from the store and the ledger. Templates escape everything they are given."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from seedbank.bank import Bank
from seedbank.errors import RefusedError, UsageError
from seedbank.evidence.requests import requesters
from seedbank.orchestration.links import api_url, board_url, dossier_url, image_url, report_url, sheet_url
from seedbank.review.decisions import MIN_REASON
from seedbank.review.records import Decision, Dossier, decision_of
from seedbank.review.roster import SEATS

IMAGE_PX = 192
"""Side of the pictures on a dossier's page."""
COVER_PX = 64
"""Side of the pictures in the overview."""


@dataclass(frozen=True)
class Page:
    """HTML whose own scripts and styles carry ``nonce``."""

    html: str
    nonce: str


@dataclass(frozen=True)
class Standing:
    """Where a dossier stands: its seats, in order, and in one word."""

    dossier: Dossier
    frozen: str
    requesters: frozenset[str]
    seats: tuple[Decision | None, ...]
    broken: str = ""

    @property
    def word(self) -> str:
        """``waiting``, ``approved``, ``rejected`` or ``broken``."""
        if self.broken:
            return "broken"
        if any(seat and seat.verdict == "reject" for seat in self.seats):
            return "rejected"
        return "approved" if all(self.seats) else "waiting"


def overview_page(bank: Bank) -> Page:
    """Every dossier: those that wait for people first, then the newest. One that cannot be read does not hide the others."""
    standings, faults, requests = [], [], list(bank.ledger.entries(event="request"))
    for entry in reversed(list(bank.ledger.entries(event="dossier.frozen"))):
        asked = requesters(request for request in requests if request.concept == entry.concept)
        try:
            standings.append(_standing(bank, bank.load(Dossier, Dossier.announced(entry)), entry.time, asked))
        except (RefusedError, UsageError) as error:
            faults.append(f"{entry.concept}: {error}")
    # A stable sort: within each half the newest stay first.
    standings.sort(key=lambda standing: standing.word != "waiting")
    return _render("overview.html", standings=standings, faults=faults, cover_px=COVER_PX, reports=_reports(bank))


def dossier_page(bank: Bank, dossier: Dossier) -> Page:
    """References, plain images and candidates of one dossier, with rights, scores, flags and the answers so far."""
    entries = bank.ledger.entries(concept=dossier.concept, event="dossier.frozen")
    frozen = next((entry.time for entry in entries if entry.data.get("key") == dossier.digest), "")
    return _render(
        "dossier.html",
        standing=_standing(bank, dossier, frozen, bank.requesters(dossier.concept)),
        dossier=dossier,
        image_px=IMAGE_PX,
        min_reason=MIN_REASON,
    )


def _reports(bank: Bank) -> dict[str, str]:
    """Where the newest examination of each concept's photos is kept, in alphabetical order of the concepts."""
    newest = {
        entry.concept: f"reference-sets/{entry.data['reference_set']}"
        if entry.event == "references.validated"
        else f"validations/{entry.data['validation']}"
        for entry in bank.ledger.entries(event="references")
        if "validation" in entry.data
    }
    return dict(sorted(newest.items()))


def _standing(bank: Bank, dossier: Dossier, frozen: str, asked: frozenset[str]) -> Standing:
    try:
        seats = tuple(decision_of(bank, dossier.digest, seat) for seat in range(1, SEATS + 1))
    except RefusedError as error:  # a decision whose signature does not hold is shown, not hidden
        return Standing(dossier, frozen, asked, (None,) * SEATS, broken=str(error))
    return Standing(dossier, frozen, asked, seats)


def _render(template: str, **values: Any) -> Page:
    # One nonce a response (CSP Level 3): what was injected into a page cannot know it.
    nonce = secrets.token_urlsafe(16)
    links = {
        "board": board_url(),
        "api": api_url(),
        "dossier_url": dossier_url,
        "sheet_url": sheet_url,
        "image_url": image_url,
        "report_url": report_url,
    }
    html = _templates().get_template(template).render(nonce=nonce, **links, **values)
    return Page(html, nonce)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
