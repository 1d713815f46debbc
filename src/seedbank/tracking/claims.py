"""Which MLflow run is a trial's: agreed on in the store, where exactly one of many racers can write a key.

MLflow makes as many runs with the same tags as it is asked for, and offers nothing to decide between them. So whoever makes a run claims it
under the next number, ``tracking/<concept>/<trial>/<what>/<n>``; the first claimed run that the server still has is *the* run. There is a
second number only where the first run was deleted or lies on another server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from seedbank.errors import OutsideError
from seedbank.storage import ObjectStore

TRIAL_RUN = "trial"
"""The claim on the run of the whole trial; those of its starts are named after their digests."""


T = TypeVar("T")


@dataclass(frozen=True)
class Claims:
    """The claims on one run: addresses (:func:`~seedbank.tracking.links.run_address`) in the order they were made."""

    store: ObjectStore
    folder: str

    @classmethod
    def of(cls, store: ObjectStore, concept: str, trial: str, start: str = TRIAL_RUN) -> Claims:
        """The claims on the run of the trial with key ``trial``, or of one of its starts."""
        return cls(store, f"tracking/{concept}/{trial}/{start}")

    def __iter__(self) -> Iterator[str]:
        for number in count(1):
            try:
                yield self.store.get(self._key(number)).decode()
            except KeyError:
                return

    def settle(self, *, find: Callable[[str], T | None], make: Callable[[], str], drop: Callable[[str], None]) -> T:
        """The run that all agree on.

        Args:
            find: the run at an address, None where the server has none.
            make: makes a run and gives its address; called at most once, and only when no claimed run is there.
            drop: removes the run that was made for nothing, because another process was first.

        Raises:
            OutsideError: somebody deleted the run as soon as it was made.
        """
        own, number = "", 1
        while True:
            try:
                claimed = self.store.get(self._key(number)).decode()
            except KeyError:
                # Made, then claimed: killed in between it leaves a run that nobody claims, and `log_trial` removes those.
                own = own or make()
                self.store.put_new(self._key(number), own.encode())
                continue  # this claim or that of another process who was first
            if found := find(claimed):
                if own not in {"", claimed}:
                    drop(own)
                return found
            # Ours of a moment ago: making another one could go on for ever.
            if claimed == own:
                raise OutsideError(f"{own} was deleted in MLflow as soon as it was made; log again")
            number += 1

    def _key(self, number: int) -> str:
        return f"{self.folder}/{number}"
