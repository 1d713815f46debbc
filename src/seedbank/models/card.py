"""Which model it was, by content: what records name a model with."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from seedbank.records import DIGEST, Record, sha256

SHIPPED = "parts"
"""The source of the model that ships with the package."""
FOLDER = "folder"
"""The source of a model in a local folder: where that lies is nobody's business but the machine's."""


JOINT = "several"
"""The source of several networks that judge together."""


class ModelCard(Record):
    """Which model drew an image, by content."""

    name: str
    source: str
    """``parts``, ``repository@revision``, or :data:`FOLDER`."""
    revision: str = ""
    content: str = Field(pattern=DIGEST)
    """SHA-256 over the names and digests of all files of the model; of several networks, over theirs."""
    members: tuple[ModelCard, ...] = ()
    """The networks of a judge that is several; their places are theirs."""

    @property
    def label(self) -> str:
        """For people: name, revision if there is one, and the beginning of its content's digest."""
        return f"{self.name}{f' at {self.revision[:12]}' if self.revision else ''} (files {self.content[:12]})"

    @classmethod
    def joint(cls, members: Sequence[ModelCard]) -> ModelCard:
        """The card of several networks that judge together, in this order."""
        return cls(
            name=" and ".join(card.name for card in members),
            source=JOINT,
            content=sha256("\n".join(card.content for card in members).encode()),
            members=tuple(members),
        )
