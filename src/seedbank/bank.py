"""The bank: the store, the ledger and the concepts that every stage works on, and how a record is found in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from seedbank.concepts import Concept, load_concept, load_concepts
from seedbank.errors import SeedbankError, UsageError, VerificationError
from seedbank.evidence.ledger import Entry, Ledger
from seedbank.evidence.requests import Stage, event_of, people, requesters
from seedbank.models.profiles import ModelProfile, load_profile, profile_path
from seedbank.records import Record, canonical_json, sha256
from seedbank.settings import Settings
from seedbank.storage import ObjectStore, open_store


class KeptRecord(Record):
    """A record of a concept that lies in the store under an address of its own and that a ledger entry announces.

    A kind of record says with class variables where it lies and what to do where there is none; :meth:`Bank.load`, :meth:`Bank.newest`
    and :meth:`Bank.keep` do the rest.
    """

    KIND: ClassVar[str]
    """What people call it."""
    PLACE: ClassVar[str]
    """Its key in the store, with ``{address}`` and, where the address alone is not enough, ``{concept}``."""
    EVENT: ClassVar[str]
    """The ledger's event (or the parent of several) that announces one."""
    ADVICE: ClassVar[str]
    """What to do where there is none, with ``{concept}``."""
    MISSING: ClassVar[type[SeedbankError]] = UsageError
    """What is raised where there is none."""

    concept: str
    """Name of the concept it is about."""

    @property
    def address(self) -> str:
        """What tells it from others of its kind: its digest, unless a kind is kept under the digest of what went into it."""
        return self.digest

    @property
    def place(self) -> str:
        """Its key in the store."""
        return self.PLACE.format(concept=self.concept, address=self.address)

    @classmethod
    def announced(cls, entry: Entry) -> str:
        """The address of the record that a ledger entry of :attr:`EVENT` announces."""
        return str(entry.data["key"])


R = TypeVar("R", bound=KeptRecord)


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
        return load_concept(path, self._policy_of)

    def concepts(self) -> dict[str, Concept]:
        """All concepts by name."""
        return load_concepts(self.settings.concepts, self._policy_of)

    def profile(self, name: str) -> ModelProfile:
        """The model profile called ``name``; raises :class:`~seedbank.errors.UsageError` for an unknown one."""
        return load_profile(profile_path(self.settings.models, name))

    def _policy_of(self, model: str) -> Mapping[str, Any]:
        # A concept whose profile is missing can be read and shown; whatever needs the model asks for the profile itself.
        try:
            path = profile_path(self.settings.models, model)
        except UsageError:
            return {}
        return load_profile(path).policy

    def load(self, kind: type[R], address: str, *, concept: str = "") -> R:
        """The record of this ``kind`` with this ``address``; ``concept`` may be left out where the address alone is enough.

        Raises:
            SeedbankError: there is none; of the kind's own class, :class:`~seedbank.errors.UsageError` for most.
            VerificationError: what lies there is not that record, to the byte.
        """
        key = kind.PLACE.format(concept=concept, address=address)
        named = f"{kind.KIND} {address}" + (f" of {concept!r}" if concept else "")
        try:
            data = self.store.get(key)
        except KeyError:
            advice = kind.ADVICE.format(concept=concept or "CONCEPT")
            raise kind.MISSING(f"no {named} in {self.store.url}; {advice}") from None
        record = kind.from_bytes(data)
        # To the byte: a parser may accept other bytes for the same record, and some addresses are digests of inputs only.
        if record.address != address or record.concept != (concept or record.concept) or record.to_bytes() != data:
            raise VerificationError(
                f"expected {named}, got {record.address} of {record.concept!r} at {key}; the object was changed in {self.store.url}, or "
                "another version of seedbank wrote it"
            )
        return record

    def newest(self, kind: type[R], concept: str) -> R:
        """The record of this ``kind`` that the ledger announced last for ``concept``; raises like :meth:`load`."""
        return self.load(kind, self.newest_address(kind, concept), concept=concept)

    def newest_address(self, kind: type[KeptRecord], concept: str) -> str:
        """The address of that record, by the ledger alone; raises the kind's own error where nothing was announced."""
        # The ledger says which is newest; a listing of the store knows no order in time.
        *_, newest = [None, *self.ledger.entries(concept=concept, event=kind.EVENT)]
        if newest is None:
            raise kind.MISSING(f"no {kind.KIND} of {concept!r} yet; {kind.ADVICE.format(concept=concept)}")
        return kind.announced(newest)

    def keep(self, record: R) -> R:
        """Store a record where there is none, and return what is kept: this one, or the one that another process stored first."""
        if self.store.put_new(record.place, record.to_bytes()):
            return record
        # Lost the race: go on with the record that everybody else will read.
        return self.load(type(record), record.address, concept=record.concept)

    def record(self, event: str, *, concept: str, **data: object) -> Entry:
        """Write to the ledger in the name of the configured actor."""
        return self.ledger.append(event, actor=self.settings.actor, concept=concept, **data)

    def record_once(self, event: str, *, concept: str, key: str, after: int = 0, **data: object) -> Entry:
        """Write to the ledger unless this ``event`` is on record for this ``key``: a stage that runs twice leaves one entry.

        ``after``: see :meth:`seedbank.evidence.ledger.Ledger.once`.
        """
        return self.ledger.once(event, actor=self.settings.actor, concept=concept, key=key, after=after, **data)

    def request(self, stage: Stage, *, concept: str, subject: str, requested_by: Collection[str]) -> None:
        """Write down who asks for ``stage``, before anything is done about it: the people named and, if a person, the actor.

        The same people who ask for the same thing again add nothing.

        Args:
            stage: what is asked for.
            concept: of which concept; whoever asks cannot review it.
            subject: what it is asked about, by digest or address.
            requested_by: ids or names; schedules and DAGs among them are no people and left out.
        """
        who = people([*requested_by, self.settings.actor])
        # Only machines ask: there is nobody to bar.
        if not who:
            return
        # The people are part of the key: whoever else asks for the same thing must be barred too.
        key = sha256(canonical_json({"subject": subject, "requested_by": who}))
        self.record_once(event_of(stage), concept=concept, key=key, subject=subject, requested_by=list(who))

    def requesters(self, concept: str, *, until: int | None = None) -> frozenset[str]:
        """Everyone who asked for images of ``concept`` at any stage, by the ledger (up to entry ``until``): they cannot review them."""
        return requesters(self.ledger.entries(concept=concept, event="request"), until=until)
