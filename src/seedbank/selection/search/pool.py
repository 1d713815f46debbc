"""A pool: the plain seeds that an exploration drew, as tensors, one row for each."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seedbank.errors import VerificationError
from seedbank.selection.judging.guard import Guard
from seedbank.selection.records import PoolStatistics


@dataclass(frozen=True)
class Pool:
    """What is known of the seeds of a pool so far, on the CPU.

    Attributes:
        indices: ``[n]``, numbers of the seeds that were drawn in all their steps.
        objective: ``[n]`` of their images; lower is better.
        guard: ``[n]``, nearness to the references under the guard, at most 1.
        embeddings: ``[n, D]`` of their images, by the objective's encoder.
        guard_embeddings: ``[n, G]`` of the same images, by the guard.
        previews: ``[m]``, objective of the previews of the seeds 0 to m; empty where there are none.
    """

    indices: Tensor
    objective: Tensor
    guard: Tensor
    embeddings: Tensor
    guard_embeddings: Tensor
    previews: Tensor

    def __len__(self) -> int:
        return len(self.objective)

    @classmethod
    def empty(cls) -> Pool:
        """Nothing yet."""
        nothing = torch.zeros(0)
        return cls(nothing.long(), nothing, nothing, torch.zeros(0, 0), torch.zeros(0, 0), nothing)

    def to_safetensors(self) -> bytes:
        """This pool as a safetensors file."""
        return save({each.name: getattr(self, each.name).contiguous() for each in fields(self)})

    @classmethod
    def from_safetensors(cls, data: bytes) -> Pool:
        """Read a pool back.

        Raises:
            VerificationError: ``data`` is no such file.
        """
        try:
            tensors = load(data)
            return cls(**{each.name: tensors[each.name] for each in fields(cls)})
        except (SafetensorError, KeyError, ValueError) as error:
            raise VerificationError(
                f"expected an explored pool in safetensors, got {len(data)} other bytes; the file is damaged"
            ) from error

    def joined(self, more: Pool) -> Pool:
        """The rows of this pool followed by those of ``more``; the previews are this pool's."""
        # An empty pool does not know how long embeddings are, so its rows cannot be concatenated.
        if not len(self):
            return replace(more, previews=self.previews)
        rows = {name: torch.cat([getattr(self, name), getattr(more, name)]) for name in _ROWS}
        return Pool(**rows, previews=self.previews)

    def judged_by(self, guard: Guard) -> Pool:
        """The same with nearness as ``guard`` sees it: one that has learnt what plain seeds give instead judges otherwise."""
        near = guard.judge(self.guard_embeddings.to(guard.prototypes.device))
        return replace(self, guard=near.cpu())

    def statistics(self) -> PoolStatistics:
        """Mean, deviation and best; of at least one row."""
        # The deviation (n - 1) of a single row is NaN; it says nothing, so 0 stands for it.
        few = len(self) < 2
        return PoolStatistics(
            size=len(self),
            objective_mean=float(self.objective.mean()),
            objective_std=0.0 if few else float(self.objective.std()),
            guard_mean=float(self.guard.mean()),
            guard_std=0.0 if few else float(self.guard.std()),
            guard_max=float(self.guard.max()),
            previewed=len(self.previews),
        )


_ROWS = tuple(each.name for each in fields(Pool) if each.name != "previews")
