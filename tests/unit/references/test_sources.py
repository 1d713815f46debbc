import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbank.errors import UsageError
from seedbank.records import canonical_json
from seedbank.references import sources
from seedbank.references.decode import NotAPhoto
from seedbank.references.sources import MAX_NAME, Arrival, from_bucket, open_source, printable


def arrivals(folder: Path, concept: str | None = None) -> dict[str, Arrival]:
    return {f"{arrival.concept}/{arrival.name}": arrival for arrival in open_source(folder, concept=concept)}


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_the_first_folder_names_the_concept(tmp_path: Path) -> None:
    write(tmp_path / "wingnut" / "a.jpg", b"one")
    write(tmp_path / "wingnut" / "batch 2" / "b.jpg", b"two")
    write(tmp_path / "loose.jpg")
    found = arrivals(tmp_path)
    assert list(found) == ["/loose.jpg", "wingnut/a.jpg", "wingnut/batch 2/b.jpg"]
    assert found["wingnut/batch 2/b.jpg"].read() == b"two"


def test_a_named_concept_takes_the_whole_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "more" / "b.jpg")
    assert list(arrivals(tmp_path, "hook")) == ["hook/a.jpg", "hook/more/b.jpg"]


def test_a_sidecar_travels_with_its_photo_and_is_no_arrival(tmp_path: Path) -> None:
    write(tmp_path / "hook" / "a.jpg")
    write(tmp_path / "hook" / "a.jpg.yaml", b"licence: x")
    write(tmp_path / "hook" / "b.jpg")
    found = arrivals(tmp_path)
    assert found["hook/a.jpg"].sidecar() == b"licence: x"
    assert found["hook/b.jpg"].sidecar() is None
    assert len(found) == 2


def test_a_sidecar_without_its_photo_arrives_by_itself(tmp_path: Path) -> None:
    write(tmp_path / "hook" / "a.jpg.yaml")
    assert list(arrivals(tmp_path)) == ["hook/a.jpg.yaml"]


def test_what_desktops_leave_behind_is_ignored(tmp_path: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "._a.jpg", "a.jpg"):
        write(tmp_path / "hook" / name)
    write(tmp_path / ".git" / "config")
    assert list(arrivals(tmp_path)) == ["hook/a.jpg"]


def test_links_are_never_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "secret.jpg")
    folder = tmp_path / "photos"
    (folder / "hook").mkdir(parents=True)
    (folder / "hook" / "link.jpg").symlink_to(outside)
    (folder / "hook" / "all").symlink_to(outside.parent)
    found = arrivals(folder)
    assert {name: arrival.fault[:15] for name, arrival in found.items()} == {
        "hook/all": "a symbolic link",
        "hook/link.jpg": "a symbolic link",
    }
    with pytest.raises(NotAPhoto, match="cannot be opened"):
        found["hook/link.jpg"].read()


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    os.mkfifo(tmp_path / "hook" / "pipe.jpg")
    assert arrivals(tmp_path)["hook/pipe.jpg"].fault.startswith("not a file")


def test_a_file_over_the_limit_is_named_but_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 10)
    write(tmp_path / "hook" / "huge.tif", b"x" * 11)
    assert arrivals(tmp_path)["hook/huge.tif"].fault.startswith("too big: 11 bytes")


def test_a_file_that_is_gone_has_its_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "hook" / "a.jpg")
    (arrival,) = open_source(tmp_path)
    path.unlink()
    with pytest.raises(NotAPhoto, match="cannot be opened: No such file"):
        arrival.read()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "hook" / "a.jpg", b"first")
    (arrival,) = open_source(tmp_path)
    looked = []
    status = os.fstat

    def touch_between(handle: int) -> os.stat_result:
        looked.append(handle)
        if len(looked) == 2:
            path.write_bytes(b"second, longer")
        return status(handle)

    monkeypatch.setattr(sources.os, "fstat", touch_between)
    with pytest.raises(NotAPhoto, match="changed while it was read"):
        arrival.read()


class Memory:
    """A bucket in memory."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        return ((key, len(data)) for key, data in self.objects.items() if key.startswith(prefix))

    def get(self, key: str, *, limit: int = 0) -> bytes:
        return self.objects[key][: limit or None]


def in_bucket(**objects: bytes) -> dict[str, Arrival]:
    return {f"{arrival.concept}/{arrival.name}": arrival for arrival in from_bucket(Memory(**objects), "in/", None)}


def test_a_bucket_is_read_like_a_folder() -> None:
    objects = {
        "in/hook/a.jpg": b"one",
        "in/hook/a.jpg.yaml": b"licence: x",
        "in/hook/more/b.jpg": b"two",
        "out/c.jpg": b"",
    }
    found = in_bucket(**objects, **{"in/hook/": b"", "in/hook/.DS_Store": b"", "in/loose.jpg": b""})
    assert list(found) == ["/loose.jpg", "hook/a.jpg", "hook/more/b.jpg"]
    assert (found["hook/a.jpg"].read(), found["hook/a.jpg"].sidecar()) == (b"one", b"licence: x")
    assert found["hook/more/b.jpg"].sidecar() is None


@pytest.mark.parametrize("key", ["in/../secret.jpg", "in/hook/../../secret.jpg", "in/hook//a.jpg", "in/./a.jpg"])
def test_keys_that_climb_are_never_asked_for(key: str) -> None:
    (arrival,) = in_bucket(**{key: b"x"}).values()
    assert arrival.fault.startswith("a key that climbs")


def test_an_object_that_is_gone_has_its_reason() -> None:
    bucket = Memory(**{"in/hook/a.jpg": b"x"})
    (arrival,) = from_bucket(bucket, "in/", None)
    bucket.objects.clear()
    with pytest.raises(NotAPhoto, match="gone: it was removed"):
        arrival.read()


def test_a_missing_folder_is_used_wrongly(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder of photos"):
        open_source(tmp_path / "nowhere")


@given(st.text(max_size=300) | st.binary(max_size=40).map(os.fsdecode))
def test_any_name_can_be_shown_and_recorded(name: str) -> None:
    shown = printable(name)
    assert len(shown) <= MAX_NAME
    assert not [char for char in shown if unicodedata.category(char)[0] == "C"]
    assert canonical_json(shown)
    assert printable(shown) == shown


def test_a_name_that_reads_backwards_is_made_plain() -> None:
    assert printable("a\u202egpj.exe\x1b[2K") == "a\ufffdgpj.exe\ufffd[2K"
