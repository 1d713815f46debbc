"""The documentation points at things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seedbank.references.measures.catalogue import PHOTO, RELATION, SET

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_named_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)[`\s]", page.read_text(encoding="utf-8"))) - {"and"} <= targets


def test_the_stewards_page_names_every_measure_with_its_unit_and_source() -> None:
    page = (ROOT / "docs" / "stewards.md").read_text(encoding="utf-8")
    for item in (*PHOTO, *RELATION, *SET):
        assert f"| {item.label} | `{item.name}` | {item.unit} | {item.source} |" in page
