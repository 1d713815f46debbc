"""Model profiles: what a file may say, where its folders are, and what of it decides a search."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from seedbank.bank import Bank
from seedbank.errors import UsageError
from seedbank.models.adding import pin
from seedbank.models.profiles import load_profile, load_profiles
from seedbank.selection.search.recipes import BALANCED
from seedbank.settings import Settings
from support.profiles import write_profiles

ROOT = Path(__file__).parents[3]
MODEL = "acme/engine@" + "a" * 40
FIELDS: dict[str, object] = {"pipeline": MODEL, "encoder": "acme/eyes@" + "b" * 40, "guard": "acme/gate@" + "c" * 40}


def written(folder: Path, name: str = "engine", **changes: object) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": "engine", **FIELDS, **changes}))
    return path


def bank_of(folder: Path, **concept: object) -> Bank:
    (folder / "concepts").mkdir()
    values = {"name": "cog", "prompt": "a cog", "owner": "mia", **concept}
    (folder / "concepts" / "cog.yaml").write_text(yaml.safe_dump(values))
    names = {"HOME": "home", "CONCEPTS": "concepts", "MODELS": "models"}
    return Bank.open(Settings.from_env({f"SEEDBANK_{key}": str(folder / name) for key, name in names.items()}))


def test_every_shipped_profile_can_be_read() -> None:
    profiles = load_profiles(ROOT / "models")
    assert profiles["parts"].orientation == "any"
    assert all(profile.guard != profile.encoder or name == "parts" for name, profile in profiles.items())


def test_one_judge_needs_no_brackets_and_several_keep_their_order(tmp_path: Path) -> None:
    assert load_profile(written(tmp_path)).encoder == (FIELDS["encoder"],)
    assert load_profile(written(tmp_path, guard=["b/b@" + "1" * 40, "a/a@" + "2" * 40])).guard[1] == "a/a@" + "2" * 40


def test_folders_are_taken_from_where_the_profile_lies(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "eyes").mkdir()
    found = load_profile(written(tmp_path, pipeline="engine", encoder=["./eyes", "parts"]))
    assert (found.pipeline, found.encoder) == (str(tmp_path / "engine"), (str(tmp_path / "eyes"), "parts"))


def test_what_has_an_up_is_not_turned_and_limits_of_the_model_win_over_the_preset(tmp_path: Path) -> None:
    assert load_profile(written(tmp_path)).adapt(BALANCED).guard_turns == 1
    limits = {"guard_slack": 2.5, "gradient": "last:2"}
    adapted = load_profile(written(tmp_path, orientation="any", limits=limits)).adapt(BALANCED)
    assert (adapted.guard_turns, adapted.guard_slack, adapted.gradient) == (4, 2.5, "last:2")
    assert load_profile(ROOT / "models" / "parts.yaml").adapt(BALANCED) == BALANCED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": None}, "encoder"),
        ({"encoder": []}, "encoder: Value should have at least 1 item"),
        ({"guards": "x"}, "guards: Extra inputs are not permitted"),
        ({"precision": "fp16"}, "precision: Input should be 'auto', 'float32', 'bfloat16' or 'float16'"),
        ({"orientation": "down"}, "orientation: Input should be 'any' or 'upright'"),
        ({"sampler": {"num_inference_steps": 0}}, "sampler.num_inference_steps"),
        ({"policy": {"quality": {"min_sharpnes": 3}}}, "min_sharpnes"),
        ({"limits": {"gradient": "magic"}}, "magic"),
        (
            {"guard": FIELDS["encoder"]},
            "is encoder and guard; a judge that is followed cannot accept, so name another guard",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=r"is not a model profile") as refused:
        load_profile(written(tmp_path, **change))
    assert message in str(refused.value)


def test_a_profile_under_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"describes 'engine'; name the file engine\.yaml"):
        load_profile(written(tmp_path, "motor"))


@pytest.mark.parametrize("model", ["./folder", "/abs/folder", MODEL])
def test_a_concept_names_a_profile_and_no_model_without_judges(tmp_path: Path, model: str) -> None:
    with pytest.raises(
        UsageError, match=r"expected the name of a model profile, got .*write one|seedbank models add NAME"
    ):
        bank_of(tmp_path, model=model).concept("cog")


def test_an_unknown_profile_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    write_profiles(tmp_path / "models", engine=FIELDS)
    bank = bank_of(tmp_path, model="motor")
    with pytest.raises(
        UsageError, match=r"no model profile 'motor' in .*; known: engine, parts\. `seedbank models add motor"
    ):
        bank.profile(bank.concept("cog").model)


def test_thresholds_of_the_profile_hold_unless_the_concept_says_otherwise(tmp_path: Path) -> None:
    policy = {"quality": {"min_side_px": 512, "min_sharpness": 9.0}, "references": {"min_photos": 3}}
    write_profiles(tmp_path / "models", engine={**FIELDS, "policy": policy})
    bank = bank_of(tmp_path, model="engine", policy={"quality": {"min_sharpness": 11.0}})
    found = bank.concept("cog").policy
    assert (found.quality.min_side_px, found.quality.min_sharpness, found.references.min_photos) == (512, 11.0, 3)
    assert bank.concepts()["cog"].policy == found


def test_pinning_touches_whole_names_only() -> None:
    pinned_one = f"acme/eyes2@{'b' * 40}"
    text = (
        f"pipeline: acme/engine-xl\nencoder: [acme/eyes, {pinned_one}]\nguard: acme/engine\n# beside acme/engine@old\n"
    )
    commits = {"acme/engine": "1" * 40, "acme/engine-xl": "2" * 40, "acme/eyes": "3" * 40}
    assert pin(text, commits) == (
        f"pipeline: acme/engine-xl@{'2' * 40}\nencoder: [acme/eyes@{'3' * 40}, {pinned_one}]\nguard: acme/engine@{'1' * 40}\n"
        "# beside acme/engine@old\n"
    )
    assert pin("pipeline: acme/engine@main", {"acme/engine@main": "4" * 40}) == f"pipeline: acme/engine@{'4' * 40}"
