"""What a selection takes in seconds, by stage."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from seedbank.selection.search.results import Event, Observer


@dataclass
class Clock:
    """An observer that adds up the seconds between one event and the next, and passes each event on.

    What ``observe`` does with an event counts towards the event after it, since the selection waits for it.
    """

    observe: Observer
    seconds: dict[str, float] = field(default_factory=dict)
    """Since this was made, by :attr:`Event.stage`."""
    _last: float = field(default_factory=time.perf_counter)

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        now = time.perf_counter()
        self.seconds[event.stage] = self.seconds.get(event.stage, 0.0) + now - self._last
        self._last = now
        self.observe(event)
