"""Records: frozen values with one canonical form (RFC 8785) and therefore one digest.

A digest is the lower-case hex SHA-256 of the canonical JSON of a record, or of raw bytes. Integers that may pass 2^53 (seeds) are kept as
decimal strings, because canonical JSON, C2PA and MLflow all refuse or round them.
"""

from __future__ import annotations

import hashlib
from typing import Any, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, ValidationError

from seedbank.errors import UsageError, VerificationError

DIGEST = r"^[0-9a-f]{64}$"
"""What a digest looks like."""


def sha256(data: bytes) -> str:
    """Lower-case hex SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """``value`` as canonical JSON (RFC 8785): sorted keys, no spaces, finite floats, integers within 2^53.

    Raises:
        VerificationError: it has no such form; what is read may be signed and still be no record.
    """
    try:
        return rfc8785.dumps(value)
    except ValueError as error:
        raise VerificationError(
            f"expected finite numbers, integers within 2^53 and whole characters, got what has no canonical JSON: {error}; do not use it"
        ) from error


class Record(BaseModel):
    """A frozen value of the vocabulary. Equal records have equal bytes and equal digests."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", defer_build=True)

    def to_bytes(self) -> bytes:
        """The canonical JSON of this record."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """SHA-256 of :meth:`to_bytes`."""
        return sha256(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a record back.

        Raises:
            VerificationError: ``data`` is not a record of this kind.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise VerificationError(
                f"expected a {cls.__name__} record, got something else ({error.error_count()} faults, first: "
                f"{error.errors()[0]['msg']}); the stored object was changed or written by another version"
            ) from error
        except UsageError as error:  # a part of it that refuses its own values, such as a recipe
            raise VerificationError(
                f"expected a {cls.__name__} record, got one that cannot be: {error}; the stored object was changed"
            ) from error
