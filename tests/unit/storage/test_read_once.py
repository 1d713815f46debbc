"""A view that reads each object once, on a store that counts."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from seedbank.storage import LocalStore
from seedbank.storage.once import ReadOnce


@dataclass(frozen=True)
class Counting(LocalStore):
    reads: list[str] = field(default_factory=list)

    def get(self, key: str) -> bytes:
        self.reads.append(key)
        return super().get(key)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    made = Counting(tmp_path)
    made.put("a", b"1")
    made.put("b", b"2")
    return made


def test_what_is_read_again_is_fetched_once(store: Counting) -> None:
    view = ReadOnce(store, again=lambda key: key == "a")
    assert [view.get(key) for key in ("a", "b", "a", "b")] == [b"1", b"2", b"1", b"2"]
    assert store.reads == ["a", "b", "b"]


def test_what_is_missing_is_looked_for_again(store: Counting) -> None:
    view = ReadOnce(store)
    with pytest.raises(KeyError, match="c"):
        view.get("c")
    assert view.put_new("c", b"3")
    assert view.get("c") == b"3"


def test_writes_go_through_and_are_seen(store: Counting) -> None:
    view = ReadOnce(store)
    assert view.get("a") == b"1"
    view.put("a", b"new")
    assert not view.put_new("a", b"newer")
    assert (view.get("a"), store.get("a"), list(view.keys()), view.url) == (b"new", b"new", ["a", "b"], store.url)
    view.delete("a")
    assert not view.exists("a")
    with pytest.raises(KeyError, match="a"):
        view.get("a")
    assert view.capabilities() == store.capabilities()
