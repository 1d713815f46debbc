"""The names of the gradient modes, apart from the code that differentiates, so that a recipe can be read without torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from seedbank.errors import UsageError

_MODE = re.compile(r"(?P<full>full)|last:(?P<last>[1-9]\d*)|one_vjp@(?P<at>0?\.\d+|0|1)")


@dataclass(frozen=True)
class Mode:
    """How the gradient is had: ``full``, ``last:3``, ``one_vjp@0.5``."""

    kind: Literal["full", "last", "one_vjp"]
    steps: int = 0
    """``k`` of ``last:k``."""
    at: float = 0.0
    """``κ`` of ``one_vjp@κ``, a share of the steps."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a mode; raises :class:`~seedbank.errors.UsageError` for what is none."""
        found = _MODE.fullmatch(text)
        if not found:
            raise UsageError(f"expected a gradient mode 'full', 'last:k' or 'one_vjp@x' with 0 <= x <= 1, got {text!r}")
        if found["full"]:
            return cls("full")
        return cls("last", steps=int(found["last"])) if found["last"] else cls("one_vjp", at=float(found["at"]))
