"""Which models are opened, and what identifies them."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbank.errors import UsageError
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
