"""What is done while a search runs: checkpoints and the images of steps are kept, and whoever waits is told how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedbank.storage.images import png
from seedbank.trials.estimate import iterations_until
from seedbank.trials.pace import Forecast, Pace
from seedbank.trials.workload import Position

if TYPE_CHECKING:
    from seedbank.bank import Bank
    from seedbank.selection import Checkpoint, Event
    from seedbank.selection.search.state import OptimisationState

DROPPED = ("others were more promising", "enough others are near enough")
"""Why a start ends for the sake of others."""
CHECKPOINT_EVERY, IMAGE_EVERY = 5, 2
"""Iterations between two checkpoints, and between two images of a start: some are at their end after four."""

Report = Callable[[str, int, int], None]
"""Called with the stage (``load``, ``explore``, ``calibrate``, ``optimise``, ``draw``), units done, and units in all."""
Foretell = Callable[[Forecast], None]


@dataclass
class Keeper:
    """Observes a selection: keeps checkpoints and the images of steps, passes progress on."""

    bank: Bank
    folder: str
    report: Report
    pace: Pace
    foretell: Foretell
    resumed: bool = False

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        self.report(event.stage, event.done, event.total)
        self.foretell(self.pace.note(position_of(event), mode=mode_of(event.checkpoint)))
        last = event.done == event.total
        if last or event.done % IMAGE_EVERY == 0:
            self._keep_images(event)
        if event.checkpoint and (last or event.stage == "explore" or event.done % CHECKPOINT_EVERY == 0):
            self.bank.store.put(self._checkpoint, event.checkpoint.to_bytes())

    def resume(self) -> Checkpoint | None:
        """The checkpoint of an earlier, interrupted run."""
        from seedbank.selection import Checkpoint

        try:
            found = Checkpoint.from_bytes(self.bank.store.get(self._checkpoint))
        except KeyError:
            return None
        self.resumed = True
        self.pace.resume(_resumed_at(found), mode=mode_of(found))
        return found

    def _keep_images(self, event: Event) -> None:
        for seed, pixels in event.images.items():
            self.bank.store.put(f"{self.folder}/steps/{seed.digest}/{event.iteration}.png", png(pixels))

    @property
    def _checkpoint(self) -> str:
        return f"{self.folder}/checkpoint.safetensors"


def position_of(event: Event) -> Position:
    """Where a search is, by what it tells."""
    state = event.checkpoint.state if event.checkpoint else None
    if event.stage != "optimise" or not state:
        return Position(stage=event.stage, done=event.done)
    return Position(
        stage="optimise",
        done=event.done,
        evaluated=len(event.images),
        active=len(state.active),
        ended=_ended(state.stopped_by),
        until=_until(state, event.semantic_goal),
    )


def _until(state: OptimisationState, goal: float | None) -> tuple[float, ...]:
    """Iterations until each start that goes on is near enough, as far as its losses say."""
    losses = [[metrics.semantic for metrics in state.trajectories[row]] for row in state.active]
    return iterations_until(losses, goal) if goal is not None else ()


def _ended(reasons: Sequence[str]) -> int:
    """How many starts ended by themselves."""
    return sum(reason not in ("", *DROPPED) for reason in reasons)


def _resumed_at(checkpoint: Checkpoint) -> Position:
    state, pool = checkpoint.state, checkpoint.pool
    if not state:
        return Position(stage="explore", done=len(pool.previews) + len(pool))
    return Position(
        stage="optimise", done=state.evaluations - 1, active=len(state.active), ended=_ended(state.stopped_by)
    )


def mode_of(checkpoint: Checkpoint | None) -> str:
    """The gradient mode that a search found to suit; empty where it has not measured that."""
    return checkpoint.calibration.chosen if checkpoint and checkpoint.calibration else ""
