"""The digest of the code that decides what a search or an expansion finds: a change of it makes new trials, a comment does not.

Decisive is every module that :func:`~seedbank.selection.select` (or ``expand``) can reach by imports, and what turns a folder of files
into the models that it uses. What only the benchmark runs, what keeps, shows or logs is not. Of each module the syntax tree counts,
without docstrings, written out again: neither comments nor layout make another digest. Canonical records and errors decide nothing that
is not in a trial's key already.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from seedbank import __version__
from seedbank.records import sha256

SEARCH = ("seedbank.selection.search.select", "seedbank.models.judges", "seedbank.models.pipelines")
"""Where a search begins: the search itself, the judges' preprocessing, and how a pipeline is made ready to sample."""
EXPANSION = (*SEARCH, "seedbank.selection.expansion.expand")
"""Where an expansion begins."""
FOLLOWED = ("seedbank.selection.", "seedbank.evaluation.")
"""Imports are followed into these packages; models come in through :data:`SEARCH`."""

Source = Callable[[str], str | None]
"""The text of a module by its dotted name; None where there is no such module."""


@cache
def code_version(roots: tuple[str, ...] = SEARCH) -> str:
    """The package's version and a digest of the code that can be reached from ``roots``."""
    return f"{__version__}+selection.{code_digest(roots)[:12]}"


def code_digest(roots: Sequence[str], source: Source | None = None) -> str:
    """SHA-256 over the names and the syntax of every module that can be reached from ``roots``, in alphabetical order.

    Args:
        roots: dotted names of modules.
        source: where the text of modules comes from; None for the installed package.
    """
    trees = reachable(roots, source or installed)
    parts = (f"{name}\n{ast.unparse(_bare(tree))}\n" for name, tree in sorted(trees.items()))
    return sha256("".join(parts).encode())


def reachable(roots: Sequence[str], source: Source) -> dict[str, ast.Module]:
    """Every module that ``roots`` import, directly or not, also inside functions; imports for types alone do not count."""
    trees: dict[str, ast.Module] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in trees or (text := source(name)) is None:
            continue
        trees[name] = ast.parse(text)
        for module, member in _imports(trees[name]):
            if module.startswith(FOLLOWED):
                # `from package import name`: the name may be a module of its own or something in the package.
                part = f"{module}.{member}"
                waiting.append(part if member and source(part) is not None else module)
    return trees


def installed(name: str) -> str | None:
    """The text of a module of this package as it is installed."""
    path = Path(str(files("seedbank"))).parent.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return None


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What is imported: a module, and what of it, which may be a module itself; an empty string for the module as a whole."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)
        else:
            yield from _imports(node)


def _bare(tree: ast.Module) -> ast.Module:
    """The same tree without docstrings and without texts that stand under an attribute to explain it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A body must not be empty, or the tree cannot be written out.
            node.body = [item for item in node.body if not _is_text(item)] or [ast.Pass()]
    return tree


def _is_text(item: ast.stmt) -> bool:
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)
