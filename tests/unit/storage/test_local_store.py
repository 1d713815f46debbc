import multiprocessing
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from seedbank.errors import StoreError, UsageError
from seedbank.storage import LocalStore, check_key, open_store

PART = st.from_regex(r"[A-Za-z0-9._=+@-]{1,8}", fullmatch=True).filter(lambda part: part not in {".", "..", ".tmp"})
KEY = st.lists(PART, min_size=1, max_size=3).map("/".join)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore.from_url(str(tmp_path / "store"))


def contents(store: LocalStore) -> dict[str, bytes]:
    keys = list(store.keys())
    return {key: store.get(key) for key in keys}


def test_a_path_a_file_url_and_open_store_name_the_same_store(tmp_path: Path) -> None:
    url = (tmp_path / "a store").as_uri()
    assert LocalStore.from_url(url) == LocalStore.from_url(str(tmp_path / "a store")) == open_store(url)
    assert LocalStore.from_url(url).url == url


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LocalStore.from_url("~/store").root == tmp_path / "store"


def test_what_was_put_can_be_read_until_it_is_deleted(store: LocalStore) -> None:
    store.put("a/b", b"1")
    store.put("a/b", b"2")
    assert (store.get("a/b"), store.exists("a/b"), list(store.keys())) == (b"2", True, ["a/b"])
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    with pytest.raises(KeyError, match="a/b"):
        store.get("a/b")


def test_a_new_only_write_never_replaces(store: LocalStore) -> None:
    assert store.put_new("a", b"first")
    assert not store.put_new("a", b"second")
    assert store.get("a") == b"first"


def test_keys_come_in_order_and_by_prefix_not_by_folder(store: LocalStore) -> None:
    for key in ("trials/b/2", "trials/b/10", "trials/bolt/1", "trials/a/1", "trial"):
        store.put(key, b"")
    assert list(store.keys("trials/b")) == ["trials/b/10", "trials/b/2", "trials/bolt/1"]
    assert list(store.keys("trials/b/")) == ["trials/b/10", "trials/b/2"]
    assert list(store.keys("none/")) == []


def test_half_written_files_are_invisible(store: LocalStore) -> None:
    store.put("a/b", b"1")
    (store.root / ".tmp" / "half").write_bytes(b"half")
    assert list(store.keys()) == ["a/b"]
    assert [path.name for path in (store.root / "a").iterdir()] == ["b"]


def test_a_failed_write_leaves_nothing_behind(store: LocalStore) -> None:
    store.put("a", b"1")
    with pytest.raises(StoreError, match="cannot write"):
        store.put("a/b", b"2")
    store.put("c/d", b"3")
    with pytest.raises(StoreError, match="cannot write c in"):
        store.put("c", b"4")
    store.delete("c")
    assert contents(store) == {"a": b"1", "c/d": b"3"}
    assert not list((store.root / ".tmp").iterdir())


def test_it_says_what_it_can_do_and_leaves_no_probe(store: LocalStore) -> None:
    can = store.capabilities()
    assert (can.conditional_write, can.versioning, can.object_lock) == (True, False, False)
    assert list(store.keys()) == []


def test_processes_that_probe_at_once_find_the_same(store: LocalStore) -> None:
    fork, rounds = multiprocessing.get_context("fork"), 100
    gate, found = fork.Barrier(2), fork.SimpleQueue()

    def probe() -> None:
        seen = set()
        for _ in range(rounds):
            gate.wait()
            seen.add(store.capabilities())
        found.put(seen)

    racers = [fork.Process(target=probe) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [found.get() for _ in racers] == [{store.capabilities()}] * 2
    assert list(store.keys()) == []


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="expected a folder to keep objects in"):
        LocalStore.from_url(str(tmp_path / "file"))


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a b", "a\\b", "ä", "a\n", "a" * 901]
)
def test_keys_that_are_no_plain_paths_are_refused(store: LocalStore, key: str) -> None:
    for action in (
        store.get,
        store.exists,
        store.delete,
        lambda key: store.put(key, b""),
        lambda key: store.put_new(key, b""),
    ):
        with pytest.raises(UsageError, match="expected an object key"):
            action(key)


@given(st.text(max_size=30))
def test_a_key_that_passes_stays_inside_the_root(key: str) -> None:
    try:
        check_key(key)
    except UsageError:
        return
    assert (Path("/store") / key).resolve().is_relative_to("/store")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KEY, st.binary(max_size=100))
def test_bytes_come_back_as_they_went_in(store: LocalStore, key: str, data: bytes) -> None:
    try:
        store.put(key, data)
    except StoreError:  # an earlier example used a part of this key as a file
        return
    assert store.get(key) == data
    assert key in store.keys(key)


def test_of_many_racers_exactly_one_writes(store: LocalStore) -> None:
    for number in range(20):
        start, won = threading.Barrier(8), []

        def race(
            name: int, key: str = f"claims/{number}", start: threading.Barrier = start, won: list[int] = won
        ) -> None:
            start.wait()
            if store.put_new(key, str(name).encode()):
                won.append(name)

        racers = [threading.Thread(target=race, args=(name,)) for name in range(8)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert [str(name).encode() for name in won] == [store.get(f"claims/{number}")]


def test_readers_never_see_a_half_written_object(store: LocalStore) -> None:
    versions = [bytes([fill]) * 200_000 for fill in (1, 2)]
    store.put("a", versions[0])
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(store.get("a"))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        store.put("a", versions[number % 2])
    done.set()
    reader.join()
    assert seen <= set(versions)


class AgainstADictionary(RuleBasedStateMachine):
    """Whatever is done to it, the store holds what a dictionary would."""

    known = Bundle("known")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="seedbank-store-")
        self.store, self.model = LocalStore.from_url(self.folder.name), dict[str, bytes]()

    @rule(target=known, key=PART, data=st.binary(max_size=8))
    def put(self, key: str, data: bytes) -> str:
        self.store.put(key, data)
        self.model[key] = data
        return key

    @rule(target=known, key=PART | known, data=st.binary(max_size=8))
    def put_new(self, key: str, data: bytes) -> str:
        assert self.store.put_new(key, data) == (key not in self.model)
        self.model.setdefault(key, data)
        return key

    @rule(key=consumes(known))
    def delete(self, key: str) -> None:
        self.store.delete(key)
        self.model.pop(key, None)

    @invariant()
    def holds_the_same(self) -> None:
        assert contents(self.store) == self.model

    def teardown(self) -> None:
        self.folder.cleanup()


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(max_examples=10, stateful_step_count=12)
