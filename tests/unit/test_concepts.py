from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seedbank.bank import Bank
from seedbank.concepts import Concept, load_concept, load_concepts
from seedbank.errors import UsageError
from seedbank.settings import Settings

WINGNUT = {"name": "wingnut", "prompt": "a photo of a wingnut", "owner": "mia"}


def write(folder: Path, values: object, name: str = "wingnut") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    concept = load_concept(write(tmp_path, WINGNUT))
    assert (concept.name, concept.model, concept.preset, concept.seed) == ("wingnut", "parts", "balanced", "0")


def test_equal_content_has_equal_digest_whatever_the_order(tmp_path: Path) -> None:
    one = load_concept(write(tmp_path, WINGNUT))
    (tmp_path / "wingnut.yaml").write_text(
        "owner: mia\nprompt: a photo of a wingnut\nname: wingnut\n", encoding="utf-8"
    )
    assert load_concept(tmp_path / "wingnut.yaml").digest == one.digest


def test_a_changed_threshold_changes_the_digest(tmp_path: Path) -> None:
    changed = WINGNUT | {"policy": {"references": {"min_photos": 3}}}
    assert load_concept(write(tmp_path, changed)).digest != load_concept(write(tmp_path, WINGNUT)).digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": ""}, "prompt: String should have at least 1 character"),
        ({"name": "Wing Nut"}, "name: String should match"),
        ({"preset": "magic"}, "preset: Input should be"),
        ({"seed": -1}, "seed: Input should be a valid string"),
        ({"polcy": {}}, "polcy: Extra inputs are not permitted"),
        ({"policy": {"references": {"min_photos": 1}}}, "policy.references.min_photos: Input should be greater"),
        ({"references": {"pin": ["a.jpg", "a.jpg"]}}, "references: Value error, pin names 'a.jpg' twice"),
        ({"references": {"pin": ["a.jpg"], "ban": ["a.jpg"]}}, "'a.jpg' is pinned and banned; decide for one"),
        ({"references": {"keep": ["a.jpg"]}}, "references.keep: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_concept(write(tmp_path, WINGNUT | change))


def test_a_missing_file_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a concept file at .*wingnut\.yaml"):
        load_concept(tmp_path / "wingnut.yaml")


def test_text_that_is_not_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wingnut.yaml").write_text("name: [", encoding="utf-8")
    with pytest.raises(UsageError, match="is not YAML"):
        load_concept(tmp_path / "wingnut.yaml")


def test_a_file_named_after_another_concept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"name the file wingnut\.yaml"):
        load_concept(write(tmp_path, WINGNUT, name="hook"))


def test_concepts_come_in_alphabetical_order(tmp_path: Path) -> None:
    for name in ("hook", "crank", "wingnut"):
        write(tmp_path, WINGNUT | {"name": name}, name=name)
    assert list(load_concepts(tmp_path)) == ["crank", "hook", "wingnut"]


def test_an_unknown_concept_lists_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, WINGNUT)
    bank = Bank.open(Settings.from_env({"SEEDBANK_HOME": str(tmp_path / "home"), "SEEDBANK_CONCEPTS": str(tmp_path)}))
    with pytest.raises(UsageError, match=r"no concept 'hook' in .*; known: wingnut"):
        bank.concept("hook")


@given(prompt=st.text(min_size=1, max_size=200), seed=st.integers(min_value=0, max_value=2**64 - 1))
def test_records_come_back_from_their_bytes(prompt: str, seed: int) -> None:
    try:
        concept = Concept(name="wingnut", prompt=prompt, owner="mia", seed=str(seed))
        data = concept.to_bytes()
    except ValueError:  # lone surrogates have no UTF-8 form, so no canonical form
        return
    assert Concept.from_bytes(data) == concept
    assert Concept.from_bytes(data).digest == concept.digest
