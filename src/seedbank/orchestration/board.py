"""The review board: pages and pictures of dossiers for whoever is signed in to Airflow and may see its reviews.

A mounted app inherits no authentication from Airflow, so the whole app depends on a signed-in user. It only reads. Answers go through
Airflow's own API, which knows who answers and writes its own audit log.

Pictures are addressed by dossier and digest, and only those that the dossier names are served: no path of the store can be asked for.
"""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Mapping
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from seedbank.bank import Bank
from seedbank.errors import OutsideError, SeedbankError, UsageError, VerificationError
from seedbank.orchestration.pages import Page, dossier_page, overview_page
from seedbank.orchestration.runs import s3_access
from seedbank.records import sha256
from seedbank.review.records import Dossier
from seedbank.settings import Settings

Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
MAX_SIDE_PX = 512
"""The largest preview; the original is served without ``size``."""
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
"""For pictures that are checked against the digest in their address before they are served; ``private`` because a shared cache does not
know who may look."""
ASK_AGAIN = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
"""For what nothing says the digest of: contact sheets and reports."""
STILL = "sandbox allow-same-origin; default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; font-src 'self'"
"""Policy of pages that Great Expectations made: they may show their own styles and pictures, and run nothing."""

board = FastAPI(
    title="seedbank review board",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[
        Depends(get_user),
        Depends(requires_access_dag("GET", DagAccessEntity.HITL_DETAIL, "release_review")),
    ],
)


def open_bank() -> Bank:
    """The bank that the API server's environment names."""
    return Bank.open(Settings.from_env(), s3=s3_access())


BankDep = Annotated[Bank, Depends(open_bank)]


@board.exception_handler(SeedbankError)
def explain(request: Request, error: SeedbankError) -> Response:
    """One line that says what is wrong: not there (404), out of reach (503), or not what it should be (500)."""
    status = 404 if isinstance(error, UsageError) else 503 if isinstance(error, OutsideError) else 500
    return Response(str(error), status_code=status, media_type="text/plain")


@board.get("/")
def overview(bank: BankDep) -> HTMLResponse:
    """All dossiers, those that wait first."""
    return _html(overview_page(bank))


@board.get("/reference-sets/{digest}/{page:path}")
def reference_set(bank: BankDep, digest: Digest, page: str) -> Response:
    """The report on the photos of a frozen set, and the Data Docs beside it."""
    return _page(bank, f"reference-sets/{digest}", page)


@board.get("/validations/{digest}/{page:path}")
def validation(bank: BankDep, digest: Digest, page: str) -> Response:
    """The same of photos that were refused."""
    return _page(bank, f"validations/{digest}", page)


@board.get("/dossiers/{digest}")
def dossier(bank: BankDep, digest: Digest) -> HTMLResponse:
    """One dossier, side by side."""
    return _html(dossier_page(bank, bank.load(Dossier, digest)))


@board.get("/dossiers/{digest}/sheet.png")
def sheet(bank: BankDep, digest: Digest) -> Response:
    """The contact sheet."""
    return _png(_stored(bank, bank.load(Dossier, digest).sheet), ASK_AGAIN)


@board.get("/dossiers/{digest}/images/{image}.png")
def image(
    bank: BankDep, digest: Digest, image: Digest, size: Annotated[int | None, Query(ge=16, le=MAX_SIDE_PX)] = None
) -> Response:
    """A picture of the dossier: the stored bytes, or a preview whose longer side is ``size`` pixels."""
    data = _stored_image(bank, bank.load(Dossier, digest), image)
    return _png(data if size is None else _preview(data, size), FOR_EVER)


def _page(bank: Bank, folder: str, page: str) -> Response:
    """A page that validation wrote; nothing else of the store can be asked for."""
    # The store refuses keys with "..": from `data-docs/` no path climbs out.
    if page != "report.html" and not page.startswith("data-docs/"):
        raise HTTPException(404, f"{folder} has no page {page!r}")
    kind = mimetypes.guess_type(page)[0] or "application/octet-stream"
    headers = ASK_AGAIN | {"Content-Security-Policy": STILL}
    return Response(_stored(bank, f"{folder}/{page}"), media_type=kind, headers=headers)


def _stored_image(bank: Bank, dossier: Dossier, image: str) -> bytes:
    """The picture's bytes, if the dossier has it and they are those that it names."""
    known = {item.photo: (f"working/{item.photo}.png", item.working) for item in dossier.references}
    known |= {
        item.image: (f"{dossier.folder}/images/{item.image}.png", item.image)
        for item in (*dossier.plain, *dossier.candidates)
    }
    if image not in known:
        raise HTTPException(404, f"dossier {dossier.digest[:12]} has no picture {image[:12]}")
    key, expected = known[image]
    data = _stored(bank, key)
    if (found := sha256(data)) != expected:
        raise VerificationError(
            f"expected {expected[:12]} at {key}, got {found[:12]}; it was changed in {bank.store.url}"
        )
    return data


def _stored(bank: Bank, key: str) -> bytes:
    try:
        return bank.store.get(key)
    except KeyError:
        raise HTTPException(404, f"{key} is not in the store") from None


def _preview(data: bytes, side: int) -> bytes:
    """Small images are enlarged with hard pixels, so that nobody judges what interpolation made up; large ones shrink smoothly."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        scale = side / max(opened.size)
        size = (max(1, round(opened.width * scale)), max(1, round(opened.height * scale)))
        resized = opened.convert("RGB").resize(
            size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
        )
    out = io.BytesIO()
    resized.save(out, format="PNG")
    return out.getvalue()


def _png(data: bytes, headers: Mapping[str, str]) -> Response:
    return Response(data, media_type="image/png", headers=dict(headers))


def _html(page: Page) -> HTMLResponse:
    """A page that may load nothing from elsewhere and run no script but its own."""
    # frame-ancestors: Airflow shows the board in a frame of its own origin; no other page may frame it.
    policy = f"default-src 'none'; img-src 'self'; style-src 'nonce-{page.nonce}'; script-src 'nonce-{page.nonce}'; connect-src 'self'"
    headers = {"Content-Security-Policy": f"{policy}; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"}
    return HTMLResponse(page.html, headers=headers | {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
