"""What the pages say, taken apart: links, commands, files, settings, names; and what the code has, read without importing it.

Every ``…_faults`` function takes a text and returns what is wrong in it, so that a test can show that it finds something.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "seedbank"
CARD = SOURCE / "models" / "parts" / "weights" / "MODEL_CARD.md"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md", CARD)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*/?")
_CODE_FILES = {".py", ".md", ".toml", ".txt"}
_FILES = _CODE_FILES | {
    ".json",
    ".jsonl",
    ".yaml",
    ".csv",
    ".png",
    ".jpg",
    ".html",
    ".pub",
    ".key",
    ".safetensors",
    ".db",
}
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?\.?([\w.]+)`")
_SETTING = re.compile(r"\b(?:SEEDBANK|AWS|MLFLOW)_[A-Z0-9_]+\b")
_EVENT = re.compile(r"[a-z]+\.[a-z]+(_[a-z]+)*")


# ---- the text of a page ----


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in one of these languages; ``""`` for those that name none."""
    return [body for language, body in _FENCE.findall(text) if language in languages]


def spans(text: str) -> list[str]:
    """What stands in backticks outside the fenced blocks."""
    return [span.strip() for span in _SPAN.findall(_FENCE.sub("", text))]


def commands(text: str) -> list[list[str]]:
    """Every command of a page, as words: lines of the blocks, and what stands in backticks."""
    lines = [line.strip() for body in blocks(text, "", "sh") for line in body.splitlines()] + spans(text)
    lines = [re.sub(r"\s+#.*|\s{2,}.*", "", line).removeprefix("$ ").removeprefix(".venv/bin/") for line in lines]
    return [shlex.split(line) for line in lines if re.match(r"(seedbank|make|python)\s+\S", line)]


def anchors(text: str) -> set[str]:
    """The names that links may give to a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# ---- what is wrong in it ----


def link_faults(text: str, page: Path) -> list[str]:
    """Links and pictures that lead nowhere, to a heading included."""
    faults = []
    for link in _LINK.findall(text):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            faults.append(link)
    return faults


def command_faults(text: str) -> list[str]:
    """Commands that do not exist: ``seedbank`` and its options, ``make`` and its settings, ``python`` files and modules."""
    faults = []
    for program, *words in commands(text):
        check = {"seedbank": _seedbank_fault, "make": _make_fault, "python": _python_fault}[program]
        if fault := check(words):
            faults.append(f"{program} {' '.join(words)}: {fault}")
    return faults


def advice_faults(text: str) -> list[str]:
    """Commands in backticks that do not exist; for strings of the code, where braces stand for names."""
    lines = [span.replace("{", "").replace("}", "") for span in _SPAN.findall(text) if span.startswith("seedbank ")]
    return [fault for line in lines if (fault := _seedbank_fault(shlex.split(line)[1:]))]


def file_faults(text: str) -> list[str]:
    """Files and folders in backticks that are neither in the repository nor names that the code uses."""
    return [span for span in spans(text) if _names_a_file(span) and not _is_there(span)]


def setting_faults(text: str, read: Iterable[str]) -> list[str]:
    """Environment settings that nothing reads or sets."""
    return sorted(set(_SETTING.findall(text)) - set(read))


def name_faults(text: str) -> list[str]:
    """Python names in backticks that do not exist, with ``seedbank.`` before them or without."""
    heads = {path.stem for path in SOURCE.glob("*.py")} | {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    known = events() | mlflow_names()
    faults = []
    for span in spans(text):
        dotted = span.removesuffix("()")
        if (
            not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", dotted)
            or Path(dotted).suffix in _FILES
            or dotted in known
        ):
            continue
        head = dotted.split(".")[0]
        if head == "seedbank" or head in heads:
            faults += [] if resolves("seedbank." + dotted.removeprefix("seedbank.")) else [span]
    return faults


def import_faults(code: str) -> list[str]:
    """What a piece of Python imports from seedbank and is not there."""
    faults = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "seedbank":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "seedbank"]
        else:
            continue
        faults += [name for name in names if not resolves(name)]
    return faults


def role_faults(text: str) -> list[str]:
    """References of docstrings (``:func:`seedbank.…```) that lead nowhere."""
    return [name for name in _ROLE.findall(text) if name.startswith("seedbank.") and not resolves(name)]


def word_faults(module: Path, banned: Iterable[str], *, code: str | None = None) -> list[str]:
    """Names that a module gives (to functions, classes, arguments, variables, attributes) with one of these words in them."""
    refused = set(banned)
    text = module.read_text(encoding="utf-8") if code is None else code
    found = [name for name in _given_names(ast.parse(text)) if refused & set(_words(name))]
    return [f"{module.relative_to(ROOT)}: {name}" for name in dict.fromkeys(found)]


# ---- what the code has ----


@cache
def modules() -> dict[Path, ast.Module]:
    """Every Python file that ships or runs the product, parsed."""
    folders = (SOURCE, ROOT / "dags", ROOT / "plugins")
    return {
        path: ast.parse(path.read_text(encoding="utf-8")) for folder in folders for path in sorted(folder.rglob("*.py"))
    }


@cache
def strings(folder: Path = ROOT) -> frozenset[str]:
    """Every string constant below ``folder``; of f-strings the pieces."""
    trees = (tree for path, tree in modules().items() if path.is_relative_to(folder))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def settings_read() -> set[str]:
    """The environment settings that the product's code names."""
    return {text for text in strings() if _SETTING.fullmatch(text)}


def store_prefixes() -> set[str]:
    """The first part of every key that a stage puts together, such as ``trials`` of ``trials/<concept>/<key>``."""
    writers = ("references", "trials", "review", "release", "evidence", "storage", "tracking/claims.py")
    trees = [tree for path, tree in modules().items() if any(path.is_relative_to(SOURCE / each) for each in writers)]
    texts = [text for tree in trees for text in _templates(tree) if "*" in text or text.endswith("/")]
    return {match[1] for text in texts if (match := re.match(r"(\.?[a-z][a-z-]*)/(?![/ ])[^ ]*$", text))}


@cache
def events() -> frozenset[str]:
    """Every event that a stage writes to the ledger: what the families that are recorded anywhere have in the stages' code."""
    from seedbank.evidence.requests import Stage, event_of

    recorded = {
        node.args[0].value
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"record", "record_once", "append", "once", "_record"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
        and _EVENT.fullmatch(node.args[0].value)
    }
    recorded |= {event_of(stage) for stage in get_args(Stage)}
    families = {event.split(".")[0] for event in recorded} | {"references"}
    stages = [strings(SOURCE / stage) for stage in ("references", "trials", "review", "release")]
    named = {text for found in stages for text in found if _EVENT.fullmatch(text) and Path(text).suffix not in _FILES}
    return frozenset(recorded | {text for text in named if text.split(".")[0] in families})


@cache
def mlflow_names() -> frozenset[str]:
    """The tags, metrics and parameters that tracking writes under a name of its own."""
    return frozenset(
        text for text in strings(SOURCE / "tracking") if re.fullmatch(r"(seedbank|mlflow)\.\w+(\.\w+)*", text)
    )


def resolves(dotted: str) -> bool:
    """Whether a dotted name leads to a module, or to something that a module defines, imports or exports."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        module = _module(parts[:length])
        if module is not None:
            return _has(module, parts[length:])
    return False


def _module(parts: list[str]) -> Path | None:
    base = SOURCE.parent.joinpath(*parts)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _has(module: Path, names: list[str]) -> bool:
    scope = _members(modules()[module].body)
    for name in names:
        if name not in scope:
            return False
        node = scope[name]
        if not isinstance(node, ast.ClassDef):
            return True  # what an imported name holds is said where it is defined
        scope = _members(node.body)
    return True


def _members(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """What a module or class defines, by name; names exported by ``__all__`` and imports for type checking included."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.If):
            found |= _members(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name): node for alias in node.names}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.Assign):
            found |= {
                name.id: node for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
            }
    return found


def _templates(tree: ast.Module) -> Iterator[str]:
    """String constants, and f-strings with ``*`` where a value goes."""
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def _given_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _words(name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_").split("_")


# ---- single commands and files ----


@cache
def _cli() -> object:
    from typer.main import get_command

    from seedbank.cli.app import app

    return get_command(app)


def _seedbank_fault(words: list[str]) -> str:
    """What is wrong with the arguments of a ``seedbank`` command: options must exist, and a word that names a command must."""
    command = _cli()
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options]
    return f"no option {', '.join(unknown)}" if unknown else ""


def _make_fault(words: list[str]) -> str:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets, variables = (
        re.findall(r"^([a-z-]+):", text, re.MULTILINE),
        set(re.findall(r"\$[({](?:if \$\()?([A-Z_]+)", text)),
    )
    unknown = [word for word in words if word.partition("=")[0] not in (variables if "=" in word else targets)]
    return f"no target or setting {', '.join(unknown)}" if unknown else ""


def _python_fault(words: list[str]) -> str:
    if words[0] == "-m":
        parts = words[1].split(".")
        there = parts[0] != "seedbank" or _module(parts) or _module([*parts, "__main__"])
    else:
        there = (ROOT / words[0]).is_file()
    return "" if there else "no such file or module"


def _names_a_file(span: str) -> bool:
    if not _FILE.fullmatch(span):
        return False
    top = {path.name for path in ROOT.glob("[!.]*")} | {path.name for path in SOURCE.iterdir() if path.is_dir()}
    return Path(span).suffix in _CODE_FILES or ("/" in span and span.split("/")[0] in top)


def _is_there(span: str) -> bool:
    if any((base / span).exists() for base in (ROOT, SOURCE, ROOT / "benchmarks", ROOT / "docs")) or span in strings():
        return True
    return any(f"/{path}".endswith("/" + span.rstrip("/")) for path in _paths())


@cache
def _paths() -> frozenset[str]:
    """Every file and folder of code, below the root."""
    tops = (SOURCE, *(ROOT / name for name in ("tests", "benchmarks", "dags", "plugins")))
    return frozenset(path.relative_to(ROOT).as_posix() for top in tops for path in top.rglob("*"))
