"""Which model it was, by content: what records name a model with."""

from __future__ import annotations

from pydantic import Field

from seedbank.records import DIGEST, Record


class ModelCard(Record):
    """Which model drew an image, by content."""

    name: str
    source: str
    revision: str = ""
    content: str = Field(pattern=DIGEST)
    """SHA-256 over the names and digests of all files of the model."""
