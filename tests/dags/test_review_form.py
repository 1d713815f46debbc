"""What a reviewer reads: text from outside stays text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from seedbank.orchestration.body import escape

MARKDOWN = MarkdownIt("commonmark").enable("table")


def rendered(cell: str) -> list[tuple[str, str]]:
    """The tokens of one table cell, as a Markdown renderer reads them."""
    tokens = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {cell} | end |\n")
    cells = [token for token in tokens if token.type == "inline"][2:]
    assert len(cells) == 2, "the cell broke the table"
    return [(token.type, token.content) for token in cells[0].children or ()]


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=60))
def test_escaped_text_is_read_as_the_same_text(text: str) -> None:
    tokens = rendered("x" + escape(text) + "x")
    assert {kind for kind, _ in tokens} <= {"text", "text_special"}
    assert "".join(content for _, content in tokens) == "x" + " ".join(text.split()) + "x"


@pytest.mark.parametrize(
    "text",
    [
        "![a](https://evil.example/track.png)",
        "a | b",
        "<img src=x>",
        "[go](javascript:x)",
        "**bold**",
        "`code`",
        "a\n\n# b",
    ],
)
def test_nothing_can_be_smuggled_into_the_form(text: str) -> None:
    assert {kind for kind, _ in rendered(escape(text))} <= {"text", "text_special"}
