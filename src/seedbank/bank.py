"""The bank: the store, the ledger and the concepts that every stage works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from seedbank.concepts import Concept, load_concept, load_concepts
from seedbank.errors import UsageError
from seedbank.evidence.ledger import Entry, Ledger
from seedbank.settings import Settings
from seedbank.storage import ObjectStore, open_store


@dataclass(frozen=True)
class Bank:
    """What the CLI and the Airflow tasks hand to every stage."""

    settings: Settings
    store: ObjectStore
    ledger: Ledger

    @classmethod
    def open(cls, settings: Settings, *, s3: Mapping[str, str] | None = None) -> Self:
        """Open the store that ``settings`` name; ``s3`` says how to reach S3, None for the environment."""
        store = open_store(settings.store, s3)
        return cls(settings, store, Ledger(store))

    def concept(self, name: str) -> Concept:
        """The concept called ``name``; raises :class:`~seedbank.errors.UsageError` for an unknown one."""
        path = self.settings.concepts / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(item.stem for item in self.settings.concepts.glob("*.yaml"))) or "none"
            raise UsageError(f"no concept {name!r} in {self.settings.concepts}; known: {known}")
        return load_concept(path)

    def concepts(self) -> dict[str, Concept]:
        """All concepts by name."""
        return load_concepts(self.settings.concepts)

    def record(self, event: str, *, concept: str, **data: object) -> Entry:
        """Write to the ledger in the name of the configured actor."""
        return self.ledger.append(event, actor=self.settings.actor, concept=concept, **data)

    def record_once(self, event: str, *, concept: str, key: str, after: int = 0, **data: object) -> Entry:
        """Write to the ledger unless this ``event`` is on record for this ``key``: a stage that runs twice leaves one entry.

        ``after``: see :meth:`seedbank.evidence.ledger.Ledger.once`.
        """
        return self.ledger.once(event, actor=self.settings.actor, concept=concept, key=key, after=after, **data)
