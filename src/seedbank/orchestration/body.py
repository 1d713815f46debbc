"""What a reviewer reads in Airflow's own form: Markdown, with pictures that the plugin serves to whoever is signed in.

Airflow renders tables and images by relative URL, drops HTML, and opens links in a new tab. Text from outside (file names, prompts,
flags) is escaped, so that it can neither add a picture nor break the table.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import zip_longest

from seedbank.errors import UsageError
from seedbank.orchestration.cases import Case
from seedbank.orchestration.links import dossier_url, image_url, sheet_url
from seedbank.references.records import Reference
from seedbank.review.decisions import MIN_REASON
from seedbank.review.records import Dossier
from seedbank.review.roster import SEATS
from seedbank.tracking.links import page_url
from seedbank.trials.records import Candidate

THUMBNAIL_PX = 160
"""Side of the pictures in the form; three fit side by side."""


def subject(case: Case, seat: int) -> str:
    """The question, in one line."""
    dossier = case.dossier
    images = f"{len(dossier.candidates)} images of {dossier.concept}"
    return f"Seat {seat} of {SEATS}: publish {images}? (dossier {case.short_digest})"


def body(case: Case, seat: int) -> str:
    """Everything needed to decide: what is asked, the rules, flags, and the pictures side by side."""
    parts = [
        _question(case),
        _rules(case, seat),
        *_rights(case),
        _flags(case.dossier),
        _images(case.dossier, case.digest),
        _links(case),
    ]
    return "\n\n".join(parts)


def escape(text: str) -> str:
    """``text`` as plain text of one line of Markdown."""
    # Any ASCII punctuation may be escaped with a backslash (CommonMark 2.4).
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _question(case: Case) -> str:
    dossier = case.dossier
    return (
        f"Do these images show **{escape(dossier.concept)}**, and may they be published?  \n"
        f"Prompt: *{escape(dossier.prompt)}*. Drawn by {escape(dossier.model.name)}; the search followed "
        f"{escape(dossier.encoder.name)}, and {escape(dossier.guard.name)} accepted. "
        f"Asked for by {escape(', '.join(sorted(case.requesters)))}. Dossier `{case.digest}`."
    )


def _rules(case: Case, seat: int) -> str:
    earlier = [decision for other in range(1, seat) if (decision := case.decision(other))]
    said = "".join(f" {escape(item.name)} said yes at seat {item.seat}: *{escape(item.reason)}*" for item in earlier)
    return (
        f"**Rules.** {SEATS} different people, none of them a requester, each with a reason of at least {MIN_REASON} "
        "characters. Both must say yes; one no ends the review. Your answer is signed, bound to this dossier, and cannot be taken "
        f"back or repeated.{said}"
    )


def _rights(case: Case) -> list[str]:
    fault = case.rights_fault()
    return (
        [f"**Cannot be published today.** {escape(fault)}. Reject, or answer once the steward has mended it."]
        if fault
        else []
    )


def _flags(dossier: Dossier) -> str:
    flags = "".join(f"\n- {escape(flag)}" for flag in dossier.flags)
    return f"**Flags**\n{flags}" if flags else "**Flags**: none."


def _images(dossier: Dossier, digest: str) -> str:
    rows = zip_longest(
        (_reference(item, digest) for item in dossier.references),
        (_plain(item, digest) for item in dossier.plain),
        (_candidate(item, digest) for item in dossier.candidates),
        fillvalue="",
    )
    lines = [
        "| Reference photos | Plain seeds | Candidates |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines)


def _reference(reference: Reference, dossier: str) -> str:
    return (
        f"{_image(dossier, reference.photo, 'reference')} {escape(reference.name)}, {escape(reference.rights.licence)}"
    )


def _plain(item: Candidate, dossier: str) -> str:
    return f"{_image(dossier, item.image, 'plain seed')} guard {item.scores.guard:.2f}"


def _candidate(item: Candidate, dossier: str) -> str:
    scores = item.scores
    measured = f"guard {scores.guard:.2f}, loss {scores.objective:.3f}, cos {scores.cosine_to_start:.2f}"
    return f"{_image(dossier, item.image, 'candidate')} {measured}"


def _image(dossier: str, image: str, label: str) -> str:
    return f"![{label}]({image_url(dossier, image, size=THUMBNAIL_PX)})"


def _links(case: Case) -> str:
    links = [f"[Larger, with rights and scores]({dossier_url(case.digest)})"]
    links.append(f"[Contact sheet]({sheet_url(case.digest)})")
    run, url = str(case.order.message.get("mlflow_run") or ""), case.bank.settings.tracking_url
    if url:
        with suppress(UsageError):  # an event that somebody sent by hand may say anything
            links.append(f"[The search in MLflow]({page_url(url, run)})")
    return " · ".join(links)
