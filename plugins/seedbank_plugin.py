"""Tells Airflow about the review board: where its pages live and how to get there from the menu."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from seedbank.orchestration.links import URL_PREFIX


async def board(scope: Any, receive: Any, send: Any) -> None:
    """The review board, imported at its first request: schedulers and workers load this file too and need none of it."""
    from seedbank.orchestration.board import board

    await board(scope, receive, send)


class SeedbankPlugin(AirflowPlugin):
    """The review board, mounted in the API server."""

    name = "seedbank"
    fastapi_apps = [{"app": board, "url_prefix": URL_PREFIX, "name": "seedbank review board"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Reviews",
            "href": f"{URL_PREFIX}/",
            "destination": "nav",
            "url_route": "seedbank",
            "nav_top_level": True,
        },
    ]
