"""Seeds: initial noise tensors with the lineage that says where each came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from seedbank.errors import VerificationError
from seedbank.records import Record

_TENSOR = "latents"
_METADATA = "lineage"


class Lineage(Record):
    """Where a seed came from.

    ``drawn`` seeds name their generator and integer (a decimal string); the others name their parent seeds and the recipe.
    """

    kind: Literal["drawn", "optimised", "neighbour", "mix", "inverted"]
    generator: str = ""
    """How noise was made, e.g. ``torch.Generator(cpu)/randn``."""
    integer: str = Field(default="", pattern=r"^\d*$")
    """The generator's seed as a decimal string: it may pass 2^53."""
    parents: tuple[str, ...] = ()
    """Digests of the seeds it was made from."""
    recipe: str = ""
    """Digest of the recipe that made it, for everything but ``drawn``."""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Seed:
    """An initial noise tensor, float32, shape (C, H, W), as the sampler takes it *before* ``init_noise_sigma``."""

    latents: npt.NDArray[np.float32]
    lineage: Lineage

    def __post_init__(self) -> None:
        if self.latents.dtype != np.float32 or self.latents.ndim != 3 or not np.isfinite(self.latents).all():
            raise VerificationError(
                f"expected finite float32 latents of shape (C, H, W), got {self.latents.dtype} {self.latents.shape}; do not cast seeds"
            )
        self.latents.setflags(write=False)

    @property
    def digest(self) -> str:
        """SHA-256 over shape, little-endian values and lineage: equal digests mean equal noise with equal history."""
        head = f"seed/1 {'x'.join(map(str, self.latents.shape))} ".encode()
        body = np.ascontiguousarray(self.latents, dtype="<f4").tobytes()
        return hashlib.sha256(head + body + self.lineage.to_bytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seed) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_safetensors(self) -> bytes:
        """This seed as a safetensors file; the same seed always gives the same bytes."""
        return save(
            {_TENSOR: np.ascontiguousarray(self.latents)}, metadata={_METADATA: self.lineage.to_bytes().decode()}
        )

    @classmethod
    def from_safetensors(cls, data: bytes) -> Self:
        """Read a seed back.

        Raises:
            VerificationError: not a seed file.
        """
        try:
            tensors = load(data)
            header = data[8 : 8 + int.from_bytes(data[:8], "little")]
            lineage = _Header.model_validate_json(header).metadata.get(_METADATA, "")
        except (SafetensorError, ValueError) as error:
            raise VerificationError(
                f"expected a seed in safetensors, got {len(data)} other bytes; the file is damaged"
            ) from error
        if set(tensors) != {_TENSOR}:
            raise VerificationError(f"expected one tensor 'latents' in a seed file, got {sorted(tensors)}")
        return cls(np.array(tensors[_TENSOR]), Lineage.from_bytes(lineage.encode()))


class _Header(Record):
    """The part of a safetensors header that holds our metadata."""

    model_config = ConfigDict(extra="ignore")
    metadata: dict[str, str] = Field(default_factory=dict, alias="__metadata__")
