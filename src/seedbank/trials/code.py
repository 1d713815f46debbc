"""."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from seedbank import __version__
from seedbank.records import sha256


@cache
def code_version() -> str:
    """The package's version and a digest of the code that searches, so that a change of it makes new trials."""
    sources = sorted(Path(str(files("seedbank.selection"))).rglob("*.py"))
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    return f"{__version__}+selection.{sha256(text.encode())[:12]}"
