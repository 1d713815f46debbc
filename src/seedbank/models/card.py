"""Which model it was, by content: what records name a model with."""

from __future__ import annotations

from pydantic import Field

from seedbank.records import DIGEST, Record

FOLDER = "folder"
"""The source of a model in a local folder: where that lies is nobody's business but the machine's."""


class ModelCard(Record):
    """Which model drew an image, by content."""

    name: str
    source: str
    """``parts``, ``repository@revision``, or :data:`FOLDER`."""
    revision: str = ""
    content: str = Field(pattern=DIGEST)
    """SHA-256 over the names and digests of all files of the model."""
