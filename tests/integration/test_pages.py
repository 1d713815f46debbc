"""The Python on the pages runs as it stands there, block after block, on the shipped model."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pages import ROOT, blocks

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_the_ml_engineers_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "ml-engineer.md"
    photos = sorted((ROOT / "examples" / "photos" / "hook").glob("photo-*.*[gp]"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"paths": photos}
    for code in blocks(page.read_text(encoding="utf-8"), "python"):
        exec(compile(code, str(page), "exec"), names)
    assert list(tmp_path.glob("*.png")), "the page says that it saves what it found"
