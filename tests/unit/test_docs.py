"""The pages are true where that can be checked: what they name exists, what they show runs, and the code keeps to their words."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml

from seedbank.concepts import Concept, load_concept, load_concepts
from seedbank.models.profiles import load_profile, parse_profile
from seedbank.references.measures.catalogue import PHOTO, RELATION, SET
from seedbank.references.rights import rights_from
from seedbank.review.roster import load_roster
from support import pages
from support.pages import PAGES, ROOT, SOURCE

ARCHITECTURE = ROOT / "docs" / "architecture.md"
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: Path, title: str) -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", read(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {title!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the Markdown tables in a text, without their heads."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    ruled = [number for number, line in enumerate(lines) if set(line) <= set("|-: ")]
    heads = {number - 1 for number in ruled} | set(ruled)
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in enumerate(lines)
        if number not in heads
    ]


# ---- every page ----


@EVERY_PAGE
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    assert pages.link_faults(read(page), page) == []


@EVERY_PAGE
def test_every_command_exists_with_its_options(page: Path) -> None:
    assert pages.command_faults(read(page)) == []


@EVERY_PAGE
def test_every_file_exists(page: Path) -> None:
    assert pages.file_faults(read(page)) == []


@EVERY_PAGE
def test_every_python_name_exists(page: Path) -> None:
    assert pages.name_faults(read(page)) == []


@EVERY_PAGE
def test_every_piece_of_python_imports_what_is_there(page: Path) -> None:
    assert [pages.import_faults(code) for code in pages.blocks(read(page), "python")] == [
        [] for _ in pages.blocks(read(page), "python")
    ]


def test_every_setting_is_read_and_every_setting_that_is_read_is_documented() -> None:
    told = "\n".join(map(read, PAGES))
    elsewhere = "".join(read(path) for path in (*ROOT.glob("docker/*"), *ROOT.glob("tests/**/*.py")))
    read_by_code = pages.settings_read()
    assert pages.setting_faults(told, read_by_code | set(re.findall(r"\b[A-Z0-9]+_[A-Z0-9_]+\b", elsewhere))) == []
    assert sorted(name for name in read_by_code if name.startswith("SEEDBANK_") and name not in told) == []


@pytest.mark.parametrize(
    ("check", "text", "fault"),
    [
        (lambda text: pages.link_faults(text, PAGES[0]), "[x](docs/nowhere.md)", "docs/nowhere.md"),
        (
            lambda text: pages.link_faults(text, PAGES[0]),
            "[x](docs/method.md#no-such-title)",
            "docs/method.md#no-such-title",
        ),
        (pages.command_faults, "```\nseedbank fly\n```", "seedbank fly: no command 'fly'"),
        (pages.command_faults, "`seedbank optimise hook --prest fast`", "no option --prest"),
        (pages.command_faults, "```\nmake dem CONCEPTS=hook   # x\n```", "no target or setting dem"),
        (pages.command_faults, "`make demo CONCEPT=hook`", "no target or setting CONCEPT=hook"),
        (pages.command_faults, "`python benchmarks/nothing.py`", "no such file or module"),
        (pages.advice_faults, "run `seedbank valdate {name}` first", "no command 'valdate'"),
        (pages.file_faults, "`src/seedbank/nowhere.py`", "src/seedbank/nowhere.py"),
        (pages.file_faults, "`concepts/nothing.yaml`", "concepts/nothing.yaml"),
        (pages.name_faults, "`seedbank.records.Recrd`", "seedbank.records.Recrd"),
        (pages.name_faults, "`review.records.Dossier.sheeet`", "review.records.Dossier.sheeet"),
        (pages.name_faults, "`trials.records.load_tril`", "trials.records.load_tril"),
        (pages.import_faults, "from seedbank.records import Recrd", "seedbank.records.Recrd"),
        (pages.import_faults, "import seedbank.nothing", "seedbank.nothing"),
        (pages.role_faults, ":func:`~seedbank.records.sha25`", "seedbank.records.sha25"),
        (lambda text: pages.setting_faults(text, {"SEEDBANK_HOME"}), "`SEEDBANK_HOM`", "SEEDBANK_HOM"),
        (lambda code: pages.word_faults(PAGES[0], {"receipt"}, code=code), "class SearchReceipt: ...", "SearchReceipt"),
        (lambda code: pages.word_faults(PAGES[0], {"ways"}, code=code), "def f(*, the_ways=1): ...", "the_ways"),
    ],
)
def test_what_does_not_exist_is_found(check: object, text: str, fault: str) -> None:
    assert fault in "; ".join(check(text))  # type: ignore[operator]


# ---- what the code says of itself ----


@pytest.mark.parametrize("folder", [SOURCE, ROOT / "dags", ROOT / "plugins"], ids=lambda folder: folder.name)
def test_what_the_code_advises_to_type_exists(folder: Path) -> None:
    assert pages.advice_faults("\n".join(pages.strings(folder))) == []


def test_every_reference_in_a_docstring_leads_somewhere() -> None:
    assert [fault for path in pages.modules() for fault in pages.role_faults(read(path))] == []


def test_every_next_step_of_status_exists() -> None:
    from seedbank.inspection.status import NEXT

    steps = [f"`{step}`" for advice in NEXT.values() for step in re.findall(r"seedbank [a-z]+", advice)]
    assert steps
    assert pages.command_faults("\n".join(steps)) == []


# ---- single pages ----


def test_the_stewards_page_names_every_measure_with_its_unit_and_source() -> None:
    page = read(ROOT / "docs" / "stewards.md")
    for item in (*PHOTO, *RELATION, *SET):
        assert f"| {item.label} | `{item.name}` | {item.unit} | {item.source} |" in page


def test_the_readme_fits_two_screens() -> None:
    assert len(read(PAGES[0]).splitlines()) <= 60


def test_the_readme_and_the_pages_lead_to_every_page() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s:]+)\)", read(page))
    }
    assert [page.name for page in PAGES[1:] if page not in linked] == []


def test_the_table_of_presets_names_each_of_them() -> None:
    named = [row[0].strip("`") for row in rows(section(ROOT / "docs" / "ml-engineer.md", "Presets"))]
    assert sorted(named) == sorted(get_args(Concept.model_fields["preset"].annotation))


@EVERY_PAGE
def test_every_preset_named_exists(page: Path) -> None:
    named = re.findall(r"(?:--preset |preset: )([a-z_0-9]+)", read(page))
    assert set(named) <= set(get_args(Concept.model_fields["preset"].annotation))


def test_the_example_of_a_concept_file_is_one(tmp_path: Path) -> None:
    example, *others = pages.blocks(read(ROOT / "docs" / "ml-engineer.md"), "yaml")
    (tmp_path / "wingnut.yaml").write_text(example, encoding="utf-8")
    concept = load_concept(tmp_path / "wingnut.yaml")
    assert (concept.name, others) == ("wingnut", [])


def test_the_example_of_a_model_profile_is_one_and_pins_what_ships() -> None:
    concept, profile = (yaml.safe_load(text) for text in pages.blocks(read(ROOT / "docs" / "your-model.md"), "yaml"))
    found, shipped = parse_profile(profile, "the page"), load_profile(ROOT / "models" / "sdxl.yaml")
    assert (found.pipeline, found.encoder, found.guard) == (shipped.pipeline, shipped.encoder, shipped.guard)
    assert Concept.model_validate(concept).model == found.name


def test_the_shipped_concept_files_are_some() -> None:
    assert "wingnut" in load_concepts(ROOT / "concepts")


def test_the_stewards_examples_are_rights_and_picks() -> None:
    rights, picks = (yaml.safe_load(text) for text in pages.blocks(read(ROOT / "docs" / "stewards.md"), "yaml"))
    assert rights_from(rights, "the page").licence == "CC-BY-4.0"
    assert Concept.model_validate({"name": "x", "prompt": "x", "owner": "x", **picks}).references.pin


def test_the_table_of_extras_names_each_of_them() -> None:
    extras = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]
    assert [row[0].strip("`") for row in rows(section(ROOT / "docs" / "changing.md", "What is installed"))] == list(
        extras
    )


def test_the_platform_engineers_roster_is_one(tmp_path: Path) -> None:
    (text,) = pages.blocks(read(ROOT / "docs" / "platform-engineer.md"), "yaml")
    (tmp_path / "roster.yaml").write_text(text, encoding="utf-8")
    assert set(load_roster(tmp_path / "roster.yaml").reviewers) == {"1", "2"}


# ---- the results page repeats what was measured ----


@cache
def measured() -> dict[tuple[str, str], dict[str, list[bool]]]:
    """By method and budget: for each kind whether each picture is right, and whether each accepted one is."""
    found: dict[tuple[str, str], dict[str, list[bool]]] = {}
    for row in json.loads(read(ROOT / "benchmarks" / "results" / "selection.json"))["rows"]:
        each = found.setdefault((row["method"], row["budget"]), {})
        each.setdefault(row["concept"], []).extend(row["right"])
        accepted = [right for right, taken in zip(row["right"], row["accepted"], strict=True) if taken]
        each.setdefault(f"{row['concept']} accepted", []).extend(accepted)
    return found


def test_the_results_by_kind_are_those_measured() -> None:
    balanced, tries = measured()["balanced", "unlimited"], measured()["best_of_n", "equal seconds"]
    kinds = [
        row for row in rows(section(ROOT / "docs" / "results.md", "The search against more tries")) if row[0] != "all"
    ]
    assert len(kinds) == 9
    for kind, _, _, *told in kinds:
        expected = [text for found in (tries, balanced) for text in _told(found, kind)]
        assert told == expected, kind


def _told(found: dict[str, list[bool]], kind: str) -> tuple[str, str]:
    right, accepted = found[kind], found[f"{kind} accepted"]
    return str(sum(right)), f"{sum(accepted)} of {len(accepted)}" if accepted else "none"


OTHERS = {
    "LoRA trained on the photos": "lora",
    "best of one pool": "best_of_pool",
    "zero-order search": "zero_order",
    "Bayesian optimisation": "bo",
    "best of N": "best_of_n",
    "CMA-ES": "cma",
    "ReNO": "reno",
    "SeedSelect with its stop rule": "seedselect_v1_stop",
    "Textual Inversion": "textual_inversion",
    "DOODL": "doodl",
}


def test_the_results_of_other_methods_are_those_measured() -> None:
    told = rows(section(ROOT / "docs" / "results.md", "Other methods, at the same seconds as `balanced`"))
    assert [row[0] for row in told] == list(OTHERS)
    for name, share, accepted in told:
        found = measured()[OTHERS[name], "equal seconds"]
        right = [each for kind, values in found.items() if not kind.endswith(" accepted") for each in values]
        taken = sum(len(values) for kind, values in found.items() if kind.endswith(" accepted"))
        assert (share, accepted) == (f"{sum(right) / len(right):.0%}".replace("%", " %"), str(taken)), name


# ---- the architecture page ----


def test_the_architecture_page_shows_every_folder_of_the_package() -> None:
    told = set(re.findall(r"`(\w+)/`", section(ARCHITECTURE, "The story, and the folders")))
    assert {path.parent.name for path in SOURCE.glob("*/__init__.py")} <= told


def test_the_architecture_page_shows_every_prefix_of_the_store_and_no_other() -> None:
    tree = "\n".join(pages.blocks(section(ARCHITECTURE, "The store"), ""))
    told = set(re.findall(r"^(\.?[a-z][a-z-]*)/", tree, re.MULTILINE))
    inside = set(re.findall(r"\s([a-z][a-z-]*)/", tree))
    assert sorted(told - pages.store_prefixes()) == []
    assert sorted(pages.store_prefixes() - told - inside) == []


def test_the_architecture_page_names_every_event_of_the_ledger_and_no_other() -> None:
    told = {event for row in rows(section(ARCHITECTURE, "The ledger")) for event in re.findall(r"`([a-z.]+)`", row[0])}
    assert told == pages.events()


def test_the_architecture_page_states_the_contracts_that_are_checked() -> None:
    layers, *others = tomllib.loads(read(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    told = section(ARCHITECTURE, "Contracts")
    assert pages.blocks(told, "")[0].split("\n")[:-1] == [layer for layer in layers["layers"] if layer != "__main__"]
    assert re.findall(r"^- (.+)$", told, re.MULTILINE) == [contract["name"] for contract in others]


def test_the_architecture_page_draws_the_errors() -> None:
    from seedbank import errors

    named = {name for name, found in vars(errors).items() if isinstance(found, type)}
    assert named <= set(re.findall(r"\w+", section(ARCHITECTURE, "Errors")))


def test_the_glossary_points_at_code() -> None:
    terms = rows(section(ARCHITECTURE, "Glossary"))
    assert len(terms) > 30
    for term, _meaning, where in terms:
        assert pages.spans(where), f"{term} names nothing of the code"


DIALECT = {
    "brings": "effect",
    "dear": "costly",
    "dearest": "most costly",
    "looks": "embeddings",
    "nameless": "unnamed",
    "reading": "step metrics",
    "offspring": "expanded images",
    "picture": "image, or photo",
    "pictures": "images, or photos",
    "readings": "trajectory",
    "receipt": "cost",
    "room": "batch size",
    "rooms": "batch sizes",
    "slope": "value and grad",
    "slopes": "gradients",
    "tally": "attempts",
    "told": "observed",
    "trail": "latents",
    "tried": "attempts",
    "walked": "optimised",
    "ways": "optimisation state",
}
"""Words that no name of the code may have in it, and what to say instead."""
PLACES = {
    "pool": ("evaluation", "models", "review", "selection", "storage", "trials"),  # of connections in storage
    "verdict": ("orchestration", "release", "review", "tracking"),
}
"""Words that mean one thing, and the only folders that have it."""
LITERAL = "models/parts"
"""The world of machine parts has slopes and nameless parts of its own."""


def test_the_code_keeps_to_the_glossary() -> None:
    found = []
    for path in pages.modules():
        if path.is_relative_to(SOURCE) and not path.is_relative_to(SOURCE / LITERAL):
            home = path.relative_to(SOURCE).parts[0]
            found += pages.word_faults(path, [*DIALECT, *(word for word, homes in PLACES.items() if home not in homes)])
    assert found == []


def test_the_library_page_names_the_pipelines_that_are_supported() -> None:
    named = re.findall(r"`(\w+Pipeline)`", section(ROOT / "docs" / "ml-engineer.md", "As a library"))
    supported = re.findall(r'"(\w+Pipeline)":', read(SOURCE / "selection" / "sampling" / "families" / "__init__.py"))
    assert named == supported
