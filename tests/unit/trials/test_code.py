"""What a trial's key knows of the code: all that decides what is found, and nothing else."""

import re

import grimp
import pytest

from seedbank import __version__
from seedbank.trials.code import EXPANSION, SEARCH, Source, code_digest, code_version, installed, reachable

SELECT, EXPAND = "seedbank.selection.search.select", "seedbank.selection.expansion.expand"
RULE = '''"""A rule."""

from __future__ import annotations

LIMIT = 0.5
"""At most."""


class Rule:
    """One rule."""

    def holds(self, value: float) -> bool:
        """Whether it holds."""
        return value < LIMIT  # strictly
'''


def digest(text: str) -> str:
    return code_digest(["a"], {"a": text}.get)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A rule.", "Another word for it."),
        ("At most.", "Anything."),
        ("One rule.", "The rule."),
        ("Whether it holds.", "True if it holds."),
        ("  # strictly", ""),
        ("LIMIT = 0.5", "LIMIT = (\n    0.5\n)"),
        ("\n\n\nclass", "\n\nclass"),
    ],
)
def test_words_and_layout_make_no_new_trial(old: str, new: str) -> None:
    assert old in RULE
    assert digest(RULE.replace(old, new)) == digest(RULE)


def test_a_docstring_that_goes_makes_no_new_trial() -> None:
    assert digest(re.sub(r'\n *"""[^"]*"""', "", RULE)) == digest(RULE)


@pytest.mark.parametrize(("old", "new"), [("0.5", "0.6"), ("<", "<="), ("LIMIT", "BOUND"), ("holds", "is_held")])
def test_whatever_is_run_makes_a_new_trial(old: str, new: str) -> None:
    assert digest(RULE.replace(old, new)) != digest(RULE)


def test_a_text_that_is_a_value_counts() -> None:
    assert digest("WORDS = 'a'\n") != digest("WORDS = 'b'\n")
    assert digest("def f(x='a'): return x\n") != digest("def f(x='b'): return x\n")


def test_every_module_that_decides_is_followed_by_its_imports_also_late_ones() -> None:
    """Compared with what another reader of imports says, so that no decisive module can be left out and no other come in."""
    graph = grimp.build_graph("seedbank", exclude_type_checking_imports=True)
    for root in (SELECT, EXPAND):
        wanted = {name for name in graph.find_upstream_modules(root) if name.startswith("seedbank.selection.")}
        assert reachable([root], installed).keys() == wanted | {root}


def test_competitors_and_records_keepers_decide_nothing() -> None:
    for roots in (SEARCH, EXPANSION):
        names = reachable(roots, installed).keys()
        packages = {".".join(name.split(".")[:2]) for name in names}
        assert packages == {"seedbank.selection", "seedbank.models"}
    assert not any(name.startswith("seedbank.selection.expansion") for name in reachable(SEARCH, installed))


@pytest.mark.parametrize(
    "module",
    [
        "seedbank.models.judges",
        "seedbank.selection.seeds",
        "seedbank.selection.judging.acceptance",
        "seedbank.selection.judging.guard",
        "seedbank.selection.sampling.noise",
        "seedbank.selection.sampling.schedules",
        "seedbank.selection.search.objective",
        "seedbank.selection.search.recipes",
    ],
)
def test_a_changed_constant_anywhere_makes_a_new_trial_and_a_comment_none(module: str) -> None:
    def changed(addition: str) -> Source:
        return lambda name: (found := installed(name)) and (found + addition if name == module else found)

    assert code_digest(SEARCH, changed("\n# a comment\n")) == code_digest(SEARCH)
    assert code_digest(SEARCH, changed("\nANOTHER = 1\n")) != code_digest(SEARCH)


def test_a_changed_expansion_makes_new_expansions_and_no_new_trial() -> None:
    def changed(name: str) -> str | None:
        found = installed(name)
        return found + "\nANOTHER = 1\n" if found and name == EXPAND else found

    assert code_digest(SEARCH, changed) == code_digest(SEARCH)
    assert code_digest(EXPANSION, changed) != code_digest(EXPANSION)


def test_the_version_names_the_release_and_the_code() -> None:
    assert code_version() == f"{__version__}+selection.{code_digest(SEARCH)[:12]}"
    assert code_version(EXPANSION) != code_version()
