"""Scans take only what is new, and may be killed at any point."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from seedbank.bank import Bank
from seedbank.errors import StoreError
from seedbank.evidence.ledger import Ledger
from seedbank.references.intake import scans, sources
from seedbank.references.intake.run import intake
from seedbank.references.intake.sandbox import Sandboxes
from seedbank.references.records import load_photos
from seedbank.storage import LocalStore
from support.photos import RIGHTS, Take, face, jpeg, make_bank, photo, put


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened below a source, in order."""
    opened: list[str] = []
    read = sources.FolderSource.read

    def noted(source: sources.FolderSource, key: str, limit: int) -> bytes:
        opened.append(Path(key).name)
        return read(source, key, limit)

    monkeypatch.setattr(sources.FolderSource, "read", noted)
    return opened


def fill(folder: Path) -> Path:
    """A batch in which everything happens once."""
    put(folder / "wingnut", "one.jpg", jpeg(photo()))
    put(folder / "wingnut", "two.jpg", jpeg(photo(index=1)))
    put(folder / "wingnut", "again.jpg", jpeg(photo()))
    put(folder / "wingnut", "corrupt.jpg", jpeg(photo(index=2))[:1500])
    put(folder / "wingnut", "no-rights.jpg", jpeg(photo(index=3)), rights=None)
    put(folder / "wingnut", "portrait.jpg", jpeg(face()))
    put(folder / "hook", "one.jpg", jpeg(photo()))
    put(folder, "loose.jpg", jpeg(photo(index=4)))
    return folder


def test_a_second_scan_reads_nothing_and_says_the_same(
    bank: Bank, take: Take, tmp_path: Path, reads: list[str]
) -> None:
    first = take(bank, fill(tmp_path / "in"))
    assert set(reads) >= {"one.jpg", "two.jpg", "corrupt.jpg"}
    reads.clear()
    again = take(bank, tmp_path / "in")
    assert reads == []
    assert again.quarantined == first.quarantined
    assert again.waiting == first.waiting
    assert Counter(item.name for item in again.known) == Counter(["one.jpg", "one.jpg", "two.jpg"])
    assert again.duplicate == first.duplicate != ()
    assert again.counts == {"accepted": 0, "waiting": 1, "known": 3, "duplicate": 1, "quarantined": 3}
    assert (again.concepts, again.seen) == ((), ("hook", "wingnut"))


def test_only_what_is_new_or_changed_is_read(bank: Bank, take: Take, tmp_path: Path, reads: list[str]) -> None:
    take(bank, fill(tmp_path / "in"))
    put(tmp_path / "in" / "wingnut", "three.jpg", jpeg(photo(index=5)))
    put(tmp_path / "in" / "wingnut", "corrupt.jpg", jpeg(photo(index=2)))
    put(tmp_path / "in" / "wingnut", "no-rights.jpg", jpeg(photo(index=3)))
    reads.clear()
    report = take(bank, tmp_path / "in")
    assert {name for name in reads if not name.endswith(".yaml")} == {"three.jpg", "corrupt.jpg", "no-rights.jpg"}
    assert [item.name for item in report.accepted] == ["three.jpg", "corrupt.jpg", "no-rights.jpg"]


def test_a_file_of_the_same_size_that_was_replaced_is_read(bank: Bank, take: Take, tmp_path: Path) -> None:
    path = put(tmp_path / "in" / "wingnut", "one.jpg", b"a text")
    os.utime(path, (1, 1))
    take(bank, tmp_path / "in")
    path.write_bytes(b"b text")
    os.utime(path, (1, 1))
    take(bank, tmp_path / "in")
    assert len(list(bank.store.keys("quarantine/bytes/"))) == 2


def test_a_concept_file_that_comes_later_brings_its_photos_in(bank: Bank, take: Take, tmp_path: Path) -> None:
    put(tmp_path / "in" / "sprocket", "one.jpg", jpeg(photo()))
    assert take(bank, tmp_path / "in").quarantined[0].reason.startswith("no concept 'sprocket'")
    make_bank(tmp_path, sprocket={})
    assert [item.concept for item in take(bank, tmp_path / "in").accepted] == ["sprocket"]


def test_a_fault_that_may_pass_is_looked_at_again(
    bank: Bank, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in" / "wingnut", "one.jpg", jpeg(photo()))
    status, looked = os.fstat, []

    def touched(handle: int) -> os.stat_result:
        looked.append(handle)
        if len(looked) == 2:
            os.utime(handle)
        return status(handle)

    monkeypatch.setattr(sources.os, "fstat", touched)
    (outcome,) = take(bank, tmp_path / "in").quarantined
    assert outcome.reason.startswith("changed while it was read")
    assert [item.name for item in take(bank, tmp_path / "in").accepted] == ["one.jpg"]


def test_better_rules_give_refused_files_another_chance(
    bank: Bank, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    take(bank, fill(tmp_path / "in"))
    reads.clear()
    monkeypatch.setattr("seedbank.references.intake.run.RULES", 2)
    take(bank, tmp_path / "in")
    assert {name for name in reads if not name.endswith(".yaml")} == {"corrupt.jpg", "no-rights.jpg"}


def test_everything_is_read_again_when_somebody_asks(bank: Bank, take: Take, tmp_path: Path, reads: list[str]) -> None:
    first = take(bank, fill(tmp_path / "in"))
    reads.clear()
    again = take(bank, tmp_path / "in", again=True)
    assert "one.jpg" in reads
    assert (again.quarantined, again.waiting) == (first.quarantined, first.waiting)


def test_another_folder_is_another_scan_but_takes_no_photo_twice(bank: Bank, take: Take, tmp_path: Path) -> None:
    take(bank, fill(tmp_path / "in"))
    report = take(bank, fill(tmp_path / "other"))
    assert report.counts["accepted"] == 0
    assert Counter(entry.event for entry in bank.ledger.entries())["intake.accepted"] == 3


def test_many_small_scans_are_tidied(
    bank: Bank, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    monkeypatch.setattr(scans, "LOOSE", 2)
    for number in range(6):
        put(tmp_path / "in" / "wingnut", f"{number}.jpg", f"text {number}".encode())
        (tmp_path / "in" / "wingnut" / f"{number - 1}.jpg").unlink(missing_ok=True)
        take(bank, tmp_path / "in")
    kept = [key for key in bank.store.keys("scans/") if not key.startswith(scans.OPEN)]
    assert len(kept) <= 3
    lines = [json.loads(line)[0] for key in kept for line in bank.store.get(key).splitlines()]
    assert "wingnut/5.jpg" in lines
    assert "wingnut/0.jpg" not in lines
    reads.clear()
    take(bank, tmp_path / "in")
    assert reads == []


class Killed(StoreError):
    """The process was killed."""


@dataclass(frozen=True)
class Dying(LocalStore):
    """A local store whose process is killed at some write: neither that write nor any later one happens."""

    left: list[int] = field(default_factory=list)

    def put(self, key: str, data: bytes) -> None:
        self._spend()
        super().put(key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        self._spend()
        return super().put_new(key, data)

    def delete(self, key: str) -> None:
        self._spend()
        super().delete(key)

    def _spend(self) -> None:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Killed("killed")


def outcome_of(bank: Bank) -> dict[str, bytes]:
    """Everything in the store but notes about scans."""
    return {key: bank.store.get(key) for key in bank.store.keys() if not key.startswith("scans/")}  # noqa: SIM118


def open_bank(folder: Path, store: LocalStore) -> Bank:
    folder.mkdir(exist_ok=True)
    made = make_bank(folder, wingnut={}, hook={})
    return Bank(made.settings, store, Ledger(store, clock=lambda: "2026-11-24T10:00:00+00:00"))


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process here survives its machine, so nothing need wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return


@pytest.mark.usefixtures("quick_disk")
def test_a_scan_that_is_killed_at_any_write_ends_like_one_that_was_not(tmp_path: Path, sandboxes: Sandboxes) -> None:
    folder = fill(tmp_path / "in")

    def scan(home: Path, store: LocalStore) -> Bank:
        bank = open_bank(home, store)
        intake(bank, folder, requested_by="mia", sandboxes=sandboxes)
        return bank

    undisturbed = outcome_of(scan(tmp_path / "calm", LocalStore(tmp_path / "calm" / "store")))
    for point in range(200):
        home = tmp_path / f"killed-{point}"
        try:
            scan(home, Dying(home / "store", [point]))
        except Killed:
            assert outcome_of(scan(home, LocalStore(home / "store"))) == undisturbed, f"killed at write {point}"
            continue
        break
    assert 25 < point < 200


@pytest.mark.usefixtures("quick_disk")
def test_killed_twice_and_with_changed_rights_nothing_is_recorded_twice(tmp_path: Path, sandboxes: Sandboxes) -> None:
    folder = fill(tmp_path / "in")
    home, store = tmp_path / "home", LocalStore(tmp_path / "home" / "store")
    intake(open_bank(home, store), folder, requested_by="mia", sandboxes=sandboxes)
    put(folder / "wingnut", "one.jpg", jpeg(photo()), RIGHTS | {"expires": "2027-01-01"})
    put(folder / "wingnut", "no-rights.jpg", jpeg(photo(index=3)))
    for point in (*range(12), 1000):
        try:
            intake(open_bank(home, Dying(store.root, [point])), folder, requested_by="mia", sandboxes=sandboxes)
        except Killed:
            continue
    bank = open_bank(home, store)
    said = Counter(
        (entry.event, entry.concept, entry.data.get("name"), entry.data.get("reason"))
        for entry in bank.ledger.entries()
    )
    assert max(said.values()) == 1
    assert said["intake.accepted", "wingnut", "one.jpg", "rights changed"] == 1
    assert said["intake.accepted", "wingnut", "no-rights.jpg", "taken in"] == 1
    assert len(load_photos(bank, "wingnut")) == 4
    assert list(bank.store.keys(scans.OPEN)) == []


@pytest.mark.usefixtures("quick_disk")
def test_what_a_killed_scan_took_in_is_judged_after_the_next_one(tmp_path: Path, sandboxes: Sandboxes) -> None:
    folder = tmp_path / "in"
    put(folder / "wingnut", "one.jpg", jpeg(photo()))
    home, store = tmp_path / "home", LocalStore(tmp_path / "home" / "store")
    with pytest.raises(Killed):  # after the photo's record, before the scan's notes
        intake(open_bank(home, Dying(store.root, [7])), folder, requested_by="mia", sandboxes=sandboxes)
    bank = open_bank(home, store)
    assert len(load_photos(bank, "wingnut")) == 1
    report = intake(bank, folder, requested_by="mia", sandboxes=sandboxes)
    assert report.counts["accepted"] == 0
    assert report.concepts == ("wingnut",)
    assert intake(bank, folder, requested_by="mia", sandboxes=sandboxes).concepts == ()
