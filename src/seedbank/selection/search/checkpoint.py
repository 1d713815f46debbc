"""How far a selection has come, as bytes: what a killed search needs to go on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seedbank.errors import VerificationError
from seedbank.selection.records import Calibration
from seedbank.selection.search.pool import Pool
from seedbank.selection.search.rules import StepMetrics
from seedbank.selection.search.state import OptimisationState


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A point between two batches, iterations or stages of a search.

    Attributes:
        pool: what was explored so far.
        network_evaluations: what the search cost so far.
        calibration: how the gradient mode was chosen; None before that, and where the recipe names the mode.
        state: of the starts; None while there are none.
    """

    pool: Pool
    network_evaluations: int
    calibration: Calibration | None = None
    state: OptimisationState | None = None

    def to_bytes(self) -> bytes:
        """A safetensors file that :meth:`from_bytes` reads back to the same values, bit by bit."""
        tensors = {f"pool.{each.name}": getattr(self.pool, each.name) for each in fields(self.pool)}
        rest = _Rest(network_evaluations=self.network_evaluations, calibration=self.calibration)
        if self.state:
            tensors |= {"noise": self.state.noise, "best": self.state.best}
            tensors |= {f"moments.{name}": values for name, values in self.state.moments.items()}
            rest.starts, rest.stopped_by = self.state.starts, self.state.stopped_by
            rest.trajectories = tuple(tuple(map(asdict, trajectory)) for trajectory in self.state.trajectories)
        # The format takes contiguous tensors only.
        on_cpu = {name: values.cpu().contiguous() for name, values in tensors.items()}
        return save(on_cpu, metadata={"state": rest.model_dump_json()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a checkpoint back, on the CPU.

        Raises:
            VerificationError: ``data`` is not what :meth:`to_bytes` writes.
        """
        try:
            tensors = load(data)
            # `load` drops the metadata. A safetensors file begins with the length of its JSON header, 8 bytes, little-endian.
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            rest = _Rest.model_validate_json(header["__metadata__"]["state"])
            return cls(
                pool=Pool(**{each.name: tensors[f"pool.{each.name}"] for each in fields(Pool)}),
                network_evaluations=rest.network_evaluations,
                calibration=rest.calibration,
                state=_state(tensors, rest) if rest.starts else None,
            )
        except (SafetensorError, ValidationError, ValueError, KeyError, TypeError) as error:
            raise VerificationError(
                f"expected a checkpoint of a selection, got {len(data)} other bytes ({error}); delete it to start again"
            ) from error


class _Rest(BaseModel):
    """The part of a checkpoint that is not tensors."""

    # A gradient's norm may be infinite, for which JSON has no number.
    model_config = ConfigDict(ser_json_inf_nan="strings")
    network_evaluations: int
    calibration: Calibration | None = None
    starts: tuple[int, ...] = ()
    stopped_by: tuple[str, ...] = ()
    trajectories: tuple[tuple[dict[str, float | None], ...], ...] = ()


def _state(tensors: dict[str, Tensor], rest: _Rest) -> OptimisationState:
    return OptimisationState(
        starts=rest.starts,
        noise=tensors["noise"],
        best=tensors["best"],
        moments={
            name.removeprefix("moments."): values for name, values in tensors.items() if name.startswith("moments.")
        },
        trajectories=tuple(tuple(map(_metrics, trajectory)) for trajectory in rest.trajectories),
        stopped_by=rest.stopped_by,
    )


def _metrics(values: dict[str, float | None]) -> StepMetrics:
    iteration = values.pop("iteration")
    return StepMetrics(iteration=int(iteration or 0), **values)  # type: ignore[arg-type]
