"""What the demo says while it works: a line for everything that happened, and one living line for what happens now."""

from __future__ import annotations

import time
from textwrap import indent
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

QUIET_SECONDS = 15.0
"""Where there is no terminal (a log file), the living line is printed this often."""


class Progress:
    """Prints to ``console``, with the time since the start before every line."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._start = time.monotonic()
        self._status: Status | None = None
        self._printed = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._status = self.console.status("", spinner="line")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()
            self._status = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """Something happened."""
        self._printed = self.elapsed
        self.console.print(f"[dim]{self.elapsed:5.0f} s[/dim]  {escape(text)}")

    def now(self, text: str) -> None:
        """Something is happening; replaces what was said to be happening before."""
        if self._status:
            self._status.update(f"{self.elapsed:4.0f} s  {escape(text)}")
        elif self.elapsed - self._printed > QUIET_SECONDS:
            self.say(f"... {text}")

    def notice(self, title: str, text: str) -> None:
        """Something the person should not miss; ``text`` may hold rich markup. No frame, so that addresses can be copied whole."""
        self._printed = self.elapsed
        self.console.print(f"\n[bold]{escape(title)}[/bold]\n\n{indent(text, '  ')}\n")
