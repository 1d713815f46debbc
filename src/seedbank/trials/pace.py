"""How a running search gets on: what it took so far for each kind of work, and what that says of the rest.

Told of every step by the trial, it knows no tensors and no store. Of work that was not done yet in this search the speed of an earlier one
is taken, times how much slower or faster this one is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from seedbank.trials.estimate import done_between, estimate
from seedbank.trials.workload import Estimate, Position, Search, Speeds, Work

FADING = 0.8
"""Weight of the measurements before at each new one: other programs come and go."""

RECENT = 0.5
"""Weight of what ended before at each new iteration."""


@dataclass(frozen=True)
class Forecast:
    """How far a search is.

    Attributes:
        stage: which is under way.
        rest: what is left to do.
        spent: seconds so far.
        left: seconds left, as expected; None where no speed is known yet.
        most: seconds left at most.
    """

    stage: str
    rest: Estimate
    spent: float
    left: float | None
    most: float | None

    @property
    def share(self) -> float:
        """Of the time that has passed, 0..1; 0 while nobody knows."""
        return self.spent / (self.spent + self.left) if self.left is not None and self.spent else 0.0


@dataclass
class _Measured:
    """Images of one kind of work and the seconds that they took, older ones counting less."""

    work: Work
    images: float = 0.0
    seconds: float = 0.0

    def add(self, images: float, seconds: float) -> None:
        self.images, self.seconds = FADING * self.images + images, FADING * self.seconds + seconds


@dataclass
class Pace:
    """Times one search.

    Attributes:
        search: what is to be done.
        known: speeds of earlier searches.
        clock: seconds, from anywhere.
    """

    search: Search
    known: Speeds = field(default_factory=Speeds)
    clock: Callable[[], float] = time.monotonic
    position: Position = field(default_factory=Position)
    _measured: dict[str, _Measured] = field(default_factory=dict)
    _ended: float = 0.0
    _evaluated: float = 0.0

    def __post_init__(self) -> None:
        self._begun = self._last = self.clock()

    def note(self, position: Position, *, mode: str = "") -> Forecast:
        """Take note of where the search is now; ``mode`` is the gradient mode that it measured to be the right one."""
        now = self.clock()
        if mode:
            self.search = replace(self.search, mode=mode)
        self._share(done_between(self.search, self.position, position), now - self._last)
        ending = self._ending(position) if position.evaluated else None
        self._last, self.position = now, replace(position, ending=ending)
        return self.forecast()

    def resume(self, position: Position, *, mode: str = "") -> None:
        """The search goes on from where an earlier one was."""
        self.position, self.search = position, replace(self.search, mode=mode or self.search.mode)

    def forecast(self) -> Forecast:
        """What is left from where the search was last."""
        rest, speeds = estimate(self.search, self.position), self.speeds
        spent = self._last - self._begun
        return Forecast(self.position.stage, rest, spent, rest.seconds(speeds), rest.most_seconds(speeds))

    @property
    def measured(self) -> Speeds:
        """What this search took by itself."""
        found = Speeds()
        for each in self._measured.values():
            found = found.with_measured(each.work, each.seconds / each.images)
        return found

    @property
    def speeds(self) -> Speeds:
        """The best guess of each kind of work: as measured now, or before, scaled to now."""
        now = self.measured
        factor = self._slower()
        before = {name: factor * seconds for name, seconds in self.known.seconds.items()}
        return Speeds({**before, **now.seconds}, {**self.known.weights, **now.weights})

    def _ending(self, position: Position) -> float:
        """The share of the starts that end at an iteration now: at first few do, then many, and the hard ones stay."""
        self._ended = RECENT * self._ended + position.ended - self.position.ended
        self._evaluated = RECENT * self._evaluated + position.evaluated
        return self.search.ending_after(self._ended, self._evaluated)

    def _share(self, works: Sequence[Work], seconds: float) -> None:
        """Note work that was done in ``seconds``; of several kinds each is given the share that it usually takes."""
        usual = [(work, work.images * (self.speeds.of(work) or work.weight)) for work in works if work.images]
        total = sum(each for _, each in usual)
        for work, each in usual:
            self._measured.setdefault(work.name, _Measured(work)).add(work.images, seconds * each / total)

    def _slower(self) -> float:
        """How much longer this search takes than those before, for the work that both did; 1 where there is none."""
        both = [each for name, each in self._measured.items() if name in self.known.seconds]
        before = sum(each.images * self.known.seconds[each.work.name] for each in both)
        return sum(each.seconds for each in both) / before if before else 1.0
