"""Addresses of the review board, below wherever Airflow itself is mounted."""

from __future__ import annotations

from urllib.parse import urlsplit

URL_PREFIX = "/seedbank"
"""Where the plugin is mounted."""


def board_url() -> str:
    """The board, as a path of the server."""
    return _server_path() + URL_PREFIX


def api_url() -> str:
    """Airflow's own API, as a path of the server."""
    return _server_path() + "/api/v2"


def dossier_url(dossier: str) -> str:
    """The page of a dossier."""
    return f"{board_url()}/dossiers/{dossier}"


def sheet_url(dossier: str) -> str:
    """The contact sheet of a dossier."""
    return f"{dossier_url(dossier)}/sheet.png"


def image_url(dossier: str, image: str, *, size: int | None = None) -> str:
    """A picture of a dossier, or its preview of ``size`` pixels."""
    return f"{dossier_url(dossier)}/images/{image}.png" + (f"?size={size}" if size else "")


def report_url(folder: str) -> str:
    """The report on reference photos kept under ``folder`` of the store; its Data Docs lie beside it."""
    return f"{board_url()}/{folder}/report.html"


def absolute(path: str) -> str:
    """A path of the server as an address that can be opened from a log."""
    from airflow.configuration import conf

    address = urlsplit(str(conf.get("api", "base_url", fallback="")))
    return f"{address.scheme}://{address.netloc}{path}" if address.netloc else path


def _server_path() -> str:
    from airflow.configuration import conf

    return urlsplit(str(conf.get("api", "base_url", fallback=""))).path.rstrip("/")
