from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbank.errors import VerificationError
from seedbank.evidence.ledger import GENESIS, Entry, Ledger
from seedbank.storage import LocalStore

TIME = "2026-11-24T10:00:00+00:00"
EVENTS = ("intake.accepted", "trial.finished", "dossier.frozen", "decision.recorded", "release.published")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(LocalStore(tmp_path), clock=lambda: TIME)


def fill(ledger: Ledger, count: int) -> list[Entry]:
    return [
        ledger.append(
            EVENTS[number % len(EVENTS)], actor="test", concept=("wingnut", "impeller")[number % 2], note=str(number)
        )
        for number in range(count)
    ]


def key(number: int) -> str:
    return f"ledger/{number:010d}.json"


def test_entries_follow_from_one_another(ledger: Ledger) -> None:
    first, second = fill(ledger, 2)
    assert (first.number, first.previous) == (1, GENESIS)
    assert (second.number, second.previous) == (2, first.digest)
    assert ledger.head() == second
    assert list(ledger.entries()) == [first, second]
    assert ledger.verify() == 2


def test_an_empty_ledger_holds(ledger: Ledger) -> None:
    assert ledger.head() is None
    assert ledger.verify() == 0
    assert list(ledger.entries()) == []


def test_entries_are_found_by_concept_and_event_and_its_parent(ledger: Ledger) -> None:
    fill(ledger, 10)
    assert {entry.concept for entry in ledger.entries(concept="impeller")} == {"impeller"}
    assert {entry.event for entry in ledger.entries(event="trial")} == {"trial.finished"}
    assert list(ledger.entries(event="tri")) == []


class TestOnce:
    def test_the_same_thing_is_on_record_once(self, ledger: Ledger) -> None:
        first = ledger.once("trial.finished", actor="a", concept="wingnut", key="k", note="first")
        assert ledger.once("trial.finished", actor="b", concept="wingnut", key="k", note="second") == first
        assert ledger.verify() == 1

    def test_another_event_concept_or_key_is_another_thing(self, ledger: Ledger) -> None:
        for event, concept, name in (
            ("trial.finished", "wingnut", "k"),
            ("trial.started", "wingnut", "k"),
            ("trial.finished", "nut", "k"),
        ):
            ledger.once(event, actor="a", concept=concept, key=name)
        ledger.once("trial.finished", actor="a", concept="wingnut", key="other")
        assert ledger.verify() == 4

    def test_what_another_process_recorded_meanwhile_counts(self, ledger: Ledger) -> None:
        ledger.once("trial.finished", actor="a", concept="wingnut", key="k")
        theirs = Ledger(ledger.store).once("trial.finished", actor="b", concept="wingnut", key="l")
        assert ledger.once("trial.finished", actor="a", concept="wingnut", key="l") == theirs

    def test_an_entry_is_read_once_however_often_we_ask(self, tmp_path: Path) -> None:
        store = CountingStore(tmp_path, [0])
        ledger = Ledger(store)
        for number in range(30):
            ledger.once("intake.accepted", actor="a", concept="wingnut", key=str(number))
        assert store.reads[0] <= 30

    def test_what_stands_before_the_window_is_neither_read_nor_known(self, tmp_path: Path) -> None:
        store = CountingStore(tmp_path, [0])
        for number in range(30):
            Ledger(store).append("trial.finished", actor="a", concept="wingnut", key=str(number))
        store.reads[0] = 0
        ledger = Ledger(store)
        assert ledger.length() == 30
        inside = ledger.once("trial.finished", actor="b", concept="wingnut", key="29", after=28)
        assert (inside.number, inside.actor) == (30, "a")
        assert ledger.once("trial.finished", actor="b", concept="wingnut", key="0", after=28).number == 31
        assert ledger.once("trial.finished", actor="b", concept="wingnut", key="0", after=31).number == 32
        assert store.reads[0] < 8
        assert ledger.once("trial.finished", actor="b", concept="wingnut", key="1").number == 2
        assert ledger.verify() == 32

    def test_entries_behind_a_number_are_told_in_order(self, ledger: Ledger) -> None:
        entries = fill(ledger, 4)
        assert list(ledger.since(2)) == entries[2:]
        assert list(ledger.since(4)) == []


@given(data=st.data())
def test_any_change_removal_or_move_of_entries_is_found(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger = Ledger(LocalStore(tmp_path_factory.mktemp("ledger")), clock=lambda: TIME)
    count = data.draw(st.integers(2, 5))
    entries = fill(ledger, count)
    pins = {count: entries[-1].digest}
    assert ledger.verify(pins) == count
    spoil = data.draw(st.sampled_from((change, remove, swap, double, rewrite)))
    spoil(data, ledger, entries)
    with pytest.raises(VerificationError):
        ledger.verify(pins)


def change(data: st.DataObject, ledger: Ledger, entries: list[Entry]) -> None:
    """Another byte somewhere."""
    number = data.draw(st.integers(1, len(entries)))
    content = ledger.store.get(key(number))
    place = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    ledger.store.put(key(number), content[:place] + bytes([other]) + content[place + 1 :])


def remove(data: st.DataObject, ledger: Ledger, entries: list[Entry]) -> None:
    """One entry, or all from one on."""
    first = data.draw(st.integers(1, len(entries)))
    last = data.draw(st.sampled_from((first, len(entries))))
    for number in range(first, last + 1):
        ledger.store.delete(key(number))


def swap(data: st.DataObject, ledger: Ledger, entries: list[Entry]) -> None:
    """Two entries change places, in name only or with their numbers."""
    one, other = data.draw(st.permutations(range(1, len(entries) + 1)))[:2]
    renumber = data.draw(st.booleans())
    for place, source in ((one, other), (other, one)):
        entry = entries[source - 1]
        moved = (
            entry.model_copy(update={"number": place, "previous": entries[place - 1].previous}) if renumber else entry
        )
        ledger.store.put(key(place), moved.to_bytes())


def double(data: st.DataObject, ledger: Ledger, entries: list[Entry]) -> None:
    """An old entry again at the end."""
    ledger.store.put(key(len(entries) + 1), data.draw(st.sampled_from(entries)).to_bytes())


def rewrite(data: st.DataObject, ledger: Ledger, entries: list[Entry]) -> None:
    """A whole new chain that holds in itself."""
    first = data.draw(st.integers(1, len(entries)))
    for number in range(first, len(entries) + 1):
        ledger.store.delete(key(number))
    for _ in range(first, len(entries) + 1):
        ledger.append("intake.accepted", actor="mallory", concept="wingnut")


def test_a_chain_without_a_pin_can_only_lose_its_end(ledger: Ledger) -> None:
    fill(ledger, 3)
    ledger.store.delete(key(3))
    assert ledger.verify() == 2
    with pytest.raises(VerificationError, match="its newest entries were removed"):
        ledger.verify({3: "0" * 64})


def test_a_stranger_in_the_ledger_is_named(ledger: Ledger) -> None:
    fill(ledger, 1)
    ledger.store.put("ledger/notes.json", b"{}")
    with pytest.raises(VerificationError, match=r"only numbered entries in the ledger, got ledger/notes.json"):
        ledger.head()


@pytest.mark.parametrize(
    "fields", [{"event": "Trial"}, {"event": "trial"}, {"number": 0}, {"previous": "x"}, {"other": 1}]
)
def test_entries_have_one_form(fields: dict[str, Any]) -> None:
    good = {
        "number": 1,
        "previous": GENESIS,
        "time": TIME,
        "actor": "a",
        "event": "trial.finished",
        "concept": "c",
        "data": {},
    }
    assert Entry(**good).number == 1
    with pytest.raises(ValueError, match="validation error"):
        Entry(**{**good, **fields})


def test_any_number_of_writers_make_one_chain(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        list(pool.map(_write, [(str(tmp_path), writer) for writer in range(4)]))
    ledger = Ledger(LocalStore(tmp_path))
    assert ledger.verify() == 4 * 10 + 5
    assert len({entry.data["key"] for entry in ledger.entries(event="trial.finished")}) == 5


def _write(task: tuple[str, int]) -> None:
    root, writer = task
    ledger = Ledger(LocalStore(Path(root)))
    for number in range(10):
        ledger.append("intake.accepted", actor=f"writer-{writer}", concept="wingnut", number=number)
        ledger.once("trial.finished", actor=f"writer-{writer}", concept="wingnut", key=str(number % 5))


class CountingStore(LocalStore):
    """A local store that counts reads."""

    def __init__(self, root: Path, reads: list[int]) -> None:
        super().__init__(root)
        object.__setattr__(self, "reads", reads)

    reads: list[int]

    def get(self, key: str) -> bytes:
        self.reads[0] += 1
        return super().get(key)
