"""The names of the gradient modes, apart from the code that differentiates, so that a recipe can be read without torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from seedbank.errors import UsageError

_MODE = re.compile(
    r"(?P<full>full)|last:(?P<last>[1-9]\d*)|one_vjp@(?P<at>0?\.\d+|0|1)|(?P<proxy>proxy)(:(?P<few>[1-9]\d*))?"
)


@dataclass(frozen=True)
class Mode:
    """How the gradient is had: ``full``, ``last:3``, ``one_vjp@0.5``, ``proxy:4``, ``proxy``."""

    kind: Literal["full", "last", "one_vjp", "proxy"]
    steps: int = 0
    """Of ``last:k`` and ``proxy:k``; 0 is the proxy that the sampler brings along."""
    at: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a mode; raises :class:`~seedbank.errors.UsageError` for what is none."""
        found = _MODE.fullmatch(text)
        if not found:
            raise UsageError(
                "expected a gradient mode 'full', 'last:k' or 'one_vjp@x' with 0 <= x <= 1, or 'proxy:k' or 'proxy', "
                f"got {text!r}"
            )
        if found["full"]:
            return cls("full")
        if found["proxy"]:
            return cls("proxy", steps=int(found["few"] or 0))
        return cls("last", steps=int(found["last"])) if found["last"] else cls("one_vjp", at=float(found["at"]))
