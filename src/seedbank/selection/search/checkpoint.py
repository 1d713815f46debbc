"""How far a selection has come, as bytes: what a killed search needs to go on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seedbank.errors import VerificationError
from seedbank.selection.search.explore import Explored
from seedbank.selection.search.optimise import Ways
from seedbank.selection.search.rules import Reading


@dataclass(frozen=True)
class Progress:
    """The explored pool so far, the starts' ways once there are any, and what it cost."""

    pool: Explored
    ways: Ways | None
    network_evaluations: int

    def to_bytes(self) -> bytes:
        """A safetensors file that :meth:`from_bytes` reads back to the same values, bit by bit."""
        tensors = {f"pool.{each.name}": getattr(self.pool, each.name) for each in fields(self.pool)}
        state = _State(network_evaluations=self.network_evaluations)
        if self.ways:
            tensors |= {"noise": self.ways.noise, "best": self.ways.best}
            tensors |= {f"memory.{name}": values for name, values in self.ways.memory.items()}
            state.starts, state.stopped_by = self.ways.starts, self.ways.stopped_by
            state.traces = tuple(tuple(asdict(reading) for reading in trace) for trace in self.ways.traces)
        plain = {name: values.cpu().contiguous() for name, values in tensors.items()}
        return save(plain, metadata={"state": state.model_dump_json()})

    @classmethod
    def from_bytes(cls, data: bytes, device: torch.device | None = None) -> Self:
        """Read progress back.

        Raises:
            VerificationError: ``data`` is not what :meth:`to_bytes` writes.
        """
        try:
            tensors = {name: values.to(device) for name, values in load(data).items()}
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            state = _State.model_validate_json(header["__metadata__"]["state"])
            pool = Explored(**{each.name: tensors[f"pool.{each.name}"].cpu() for each in fields(Explored)})
            ways = _ways(tensors, state) if state.starts else None
        except (SafetensorError, ValidationError, ValueError, KeyError, TypeError) as error:
            raise VerificationError(
                f"expected the progress of a selection, got {len(data)} other bytes ({error}); delete it to start again"
            ) from error
        return cls(pool, ways, state.network_evaluations)


class _State(BaseModel):
    """The part of the progress that is not tensors."""

    model_config = ConfigDict(ser_json_inf_nan="strings")
    network_evaluations: int
    starts: tuple[int, ...] = ()
    stopped_by: tuple[str, ...] = ()
    traces: tuple[tuple[dict[str, float | None], ...], ...] = ()


def _ways(tensors: dict[str, Tensor], state: _State) -> Ways:
    memory = {name.removeprefix("memory."): values for name, values in tensors.items() if name.startswith("memory.")}
    traces = tuple(tuple(_reading(values) for values in trace) for trace in state.traces)
    return Ways(state.starts, tensors["noise"], tensors["best"], memory, traces, state.stopped_by)


def _reading(values: dict[str, float | None]) -> Reading:
    iteration = values.pop("iteration")
    return Reading(int(iteration or 0), **values)  # type: ignore[arg-type]
