"""What a researcher imports from `seedbank.selection`, and what that does not drag in."""

from __future__ import annotations

import subprocess
import sys

import pytest

import seedbank.selection


@pytest.mark.parametrize("name", seedbank.selection.__all__)
def test_every_exported_name_is_what_its_home_defines(name: str) -> None:
    found = getattr(seedbank.selection, name)
    assert name in dir(seedbank.selection)
    assert name.isupper() or found.__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'seedbank.selection' has no attribute 'Search'"):
        seedbank.selection.Search  # noqa: B018


@pytest.mark.parametrize(
    "statement",
    [
        "import seedbank.selection",
        "import seedbank.selection.search.recipes",
        "from seedbank.selection import BALANCED, Recipe, SamplerConfig, preset",
    ],
)
def test_recipes_and_records_are_read_without_torch(statement: str) -> None:
    heavy = "{'torch', 'numpy', 'diffusers', 'transformers', 'scipy', 'PIL'}"
    code = f"{statement}\nimport sys\nprint(*sorted({heavy} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == ""


@pytest.mark.parametrize(
    ("parameter", "kind"),
    [("config", "SamplerConfig"), ("sampler", "Sampler"), ("recipe", "Recipe"), ("plan", "Plan"), ("root", "str")],
)
def test_a_parameter_means_the_same_in_every_function(parameter: str, kind: str) -> None:
    functions = [getattr(seedbank.selection, name) for name in seedbank.selection.__all__ if name.islower()]
    annotations = [function.__annotations__ for function in functions]
    kinds = {found[parameter].removesuffix(" | None") for found in annotations if parameter in found}
    assert kinds == {kind}
