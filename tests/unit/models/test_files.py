"""Which models are opened, and what identifies them."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbank.errors import OutsideError, UsageError
from seedbank.models.files import describe, find_model


def folder(root: Path, **contents: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def test_a_folder_with_safetensors_is_found_as_it_is(tmp_path: Path) -> None:
    made = folder(tmp_path / "m", config__json="{}", model__safetensors="w")
    assert find_model(str(made)) == made


@pytest.mark.parametrize("kind", ["bin", "ckpt", "pt", "pth", "pkl"])
def test_a_model_that_must_be_unpickled_is_refused(tmp_path: Path, kind: str) -> None:
    made = folder(tmp_path / "m", config__json="{}", **{f"model__{kind}": "w"})
    with pytest.raises(UsageError, match=rf"got only model\.{kind}, which can run code when it is read; convert"):
        find_model(str(made))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected safetensors weights in .*, got no weights"):
        find_model(str(folder(tmp_path / "m", config__json="{}")))


@pytest.mark.parametrize("name", ["runwayml/model", "runwayml/model@main", "runwayml/model@abc123", "no such folder"])
def test_a_name_that_can_move_is_refused(name: str) -> None:
    with pytest.raises(
        UsageError, match=r"repository@revision with the 40-digit commit, got .*; branches and tags can move"
    ):
        find_model(name)


@pytest.mark.parametrize(
    ("part", "taken"),
    [
        ("pipeline", {"model_index.json", "unet/config.json", "unet/model.safetensors", "tokenizer/merges.txt"}),
        (
            "encoder",
            {
                "model_index.json",
                "unet/config.json",
                "unet/model.safetensors",
                "tokenizer/merges.txt",
                "all.safetensors",
            },
        ),
    ],
)
def test_of_a_hub_only_what_is_needed_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, taken: set[str]
) -> None:
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    offered = [
        "model_index.json", "all.safetensors", "all.ckpt", "pipeline.py", "unet/config.json", "unet/model.safetensors",
        "unet/model.bin", "unet/model.non_ema.safetensors", "safety_checker/model.safetensors", "tokenizer/merges.txt",
    ]  # fmt: skip

    def snapshot(repository: str, *, revision: str, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        assert (repository, revision) == ("maker/model", "a" * 40)
        for name in filter_repo_objects(offered, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    found = find_model(f"maker/model@{'a' * 40}", part)
    assert {path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()} == taken


def test_a_hub_that_offers_only_pickles_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(UsageError, match="got none; pickled ones, which can run code, are never fetched"):
        find_model(f"maker/model@{'a' * 40}")


def test_a_hub_that_cannot_be_reached_is_no_fault_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def down(*_: object, **__: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", down)
    with pytest.raises(OutsideError, match=r"cannot fetch maker/model@a+: no route; download it and name the folder"):
        find_model(f"maker/model@{'a' * 40}")


def test_the_digest_covers_names_and_contents_of_what_is_loaded(tmp_path: Path) -> None:
    base = describe(folder(tmp_path / "a", config__json="{}", model__safetensors="w"), source=str(tmp_path / "a"))
    same = describe(folder(tmp_path / "b", config__json="{}", model__safetensors="w"), source=str(tmp_path / "b"))
    other = describe(folder(tmp_path / "c", config__json="{}", model__safetensors="v"), source=str(tmp_path / "c"))
    renamed = describe(folder(tmp_path / "d", config__json="{}", weights__safetensors="w"), source=str(tmp_path / "d"))
    read_me = describe(folder(tmp_path / "a", README__md="hello"), source=str(tmp_path / "a"))
    assert base.content == same.content == read_me.content
    assert len({base.content, other.content, renamed.content}) == 3


def test_the_card_of_a_folder_holds_no_path_of_this_machine(tmp_path: Path) -> None:
    card = describe(folder(tmp_path / "mine", model__safetensors="w"), source=str(tmp_path / "mine"))
    assert (card.name, card.source, card.revision) == ("mine", "folder", "")
    pinned = describe(folder(tmp_path / "mine"), source=f"maker/model@{'a' * 40}")
    assert (pinned.name, pinned.revision) == ("maker/model", "a" * 40)
