import contextlib
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbank.errors import UsageError
from seedbank.records import canonical_json, sha256
from seedbank.references.intake import sources, tables
from seedbank.references.intake.decode import NotAPhoto
from seedbank.references.intake.listing import Arrival, Listing
from seedbank.references.intake.sources import MAX_NAME, BucketSource, Source, open_source, printable
from seedbank.references.intake.tables import read_table
from seedbank.references.rights import NoRights, rights_from

SIDECAR = b"licence: MIT\nsource: us\ncleared_by: dana\ncleared_on: 2026-01-05\npurpose: synthetic-release\n"


def listed(source: Source, concept: str | None = None) -> dict[str, Arrival]:
    with Listing(source, concept) as listing:
        return {f"{arrival.concept}/{arrival.name}": arrival for arrival in listing}


def arrivals(folder: Path, concept: str | None = None) -> dict[str, Arrival]:
    return listed(open_source(folder), concept)


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
    write(tmp_path / "hook" / "a.jpg.yaml", SIDECAR)
    write(tmp_path / "hook" / "b.jpg")
    found = arrivals(tmp_path)
    rights = found["hook/a.jpg"].rights()
    assert rights
    assert (rights.licence, rights.cleared_by) == ("MIT", "dana")
    assert found["hook/b.jpg"].rights() is None
    assert found["hook/b.jpg"].missing == "there is no sidecar"
    assert len(found) == 2


def test_a_sidecar_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "hook" / "a.jpg")
    (tmp_path / "hook" / "a.jpg.yaml").symlink_to(write(tmp_path / "outside.yaml", SIDECAR))
    with pytest.raises(NotAPhoto, match="its sidecar cannot be opened"):
        arrivals(tmp_path)["hook/a.jpg"].rights()


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
    (arrival,) = arrivals(tmp_path).values()
    path.unlink()
    with pytest.raises(NotAPhoto, match="cannot be opened: No such file"):
        arrival.read()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "hook" / "a.jpg", b"first")
    (arrival,) = arrivals(tmp_path).values()
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

    name = "memory"

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def list(self, prefix: str = "") -> Iterator[tuple[str, int, str]]:
        found = ((key, data) for key, data in self.objects.items() if key.startswith(prefix))
        return ((key, len(data), sha256(data)) for key, data in found)

    def get(self, key: str, *, limit: int = 0) -> bytes:
        return self.objects[key][: limit or None]


def in_bucket(**objects: bytes) -> dict[str, Arrival]:
    return listed(BucketSource(Memory(**objects), "in/"))


def test_a_bucket_is_read_like_a_folder() -> None:
    objects = {"in/hook/a.jpg": b"one", "in/hook/a.jpg.yaml": SIDECAR, "in/hook/more/b.jpg": b"two", "out/c.jpg": b""}
    found = in_bucket(**objects, **{"in/hook/": b"", "in/hook/.DS_Store": b"", "in/loose.jpg": b""})
    assert list(found) == ["/loose.jpg", "hook/a.jpg", "hook/more/b.jpg"]
    assert found["hook/a.jpg"].read() == b"one"
    assert found["hook/a.jpg"].rights()
    assert found["hook/more/b.jpg"].rights() is None


@pytest.mark.parametrize("key", ["in/../secret.jpg", "in/hook/../../secret.jpg", "in/hook//a.jpg", "in/./a.jpg"])
def test_keys_that_climb_are_never_asked_for(key: str) -> None:
    (arrival,) = in_bucket(**{key: b"x"}).values()
    assert arrival.fault.startswith("a key that climbs")


def test_an_object_that_is_gone_has_its_reason() -> None:
    bucket = Memory(**{"in/hook/a.jpg": b"x"})
    (arrival,) = listed(BucketSource(bucket, "in/")).values()
    bucket.objects.clear()
    with pytest.raises(NotAPhoto, match="gone: it was removed"):
        arrival.read()


def test_a_missing_folder_is_used_wrongly(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder of photos"):
        open_source(tmp_path / "nowhere")


HEAD = "file,licence,source,cleared_by,cleared_on,purpose"
ROW = "a.jpg,MIT,us,dana,2026-01-05,synthetic-release"


def with_table(folder: Path, text: str, *photos: str) -> dict[str, Arrival]:
    write(folder / "hook" / "rights.csv", text.encode())
    for name in photos:
        write(folder / "hook" / name)
    return arrivals(folder)


class TestRightsTables:
    def test_one_table_clears_a_batch(self, tmp_path: Path) -> None:
        second = "more/b.jpg,CC0-1.0,them,dora,2026-02-05,research|synthetic-release"
        found = with_table(tmp_path, "\n".join([HEAD, ROW, second]), "a.jpg", "more/b.jpg")
        assert set(found) == {"hook/a.jpg", "hook/more/b.jpg"}
        one, two = found["hook/a.jpg"].rights(), found["hook/more/b.jpg"].rights()
        assert one
        assert two
        assert (one.licence, one.purpose) == ("MIT", ("synthetic-release",))
        assert (two.cleared_by, two.purpose) == ("dora", ("research", "synthetic-release"))

    def test_a_photos_own_sidecar_beats_the_table(self, tmp_path: Path) -> None:
        write(tmp_path / "hook" / "a.jpg.yaml", SIDECAR.replace(b"MIT", b"CC0-1.0"))
        rights = with_table(tmp_path, f"{HEAD}\n{ROW}", "a.jpg")["hook/a.jpg"].rights()
        assert rights
        assert rights.licence == "CC0-1.0"

    def test_the_nearest_table_beats_one_further_up(self, tmp_path: Path) -> None:
        write(tmp_path / "rights.csv", f"{HEAD}\n{ROW.replace('a.jpg', 'hook/a.jpg').replace('MIT', 'far')}".encode())
        rights = with_table(tmp_path, f"{HEAD}\n{ROW}", "a.jpg")["hook/a.jpg"].rights()
        assert rights
        assert rights.licence == "MIT"

    def test_a_photo_without_a_row_says_where_one_was_expected(self, tmp_path: Path) -> None:
        found = with_table(tmp_path, f"{HEAD}\n{ROW}", "a.jpg", "b.jpg")["hook/b.jpg"]
        assert found.rights() is None
        assert found.missing == "there is no sidecar, and hook/rights.csv has no row for it"

    def test_two_rows_for_one_photo_clear_nothing(self, tmp_path: Path) -> None:
        found = with_table(tmp_path, f"{HEAD}\n{ROW}\n{ROW.replace('MIT', 'CC0-1.0')}", "a.jpg")
        with pytest.raises(NoRights, match=r"hook/rights\.csv has two rows for it \(lines 2 and 3\)"):
            found["hook/a.jpg"].rights()

    def test_a_row_without_a_photo_is_told(self, tmp_path: Path) -> None:
        with_table(tmp_path, f"{HEAD}\n{ROW}", "b.jpg")
        with Listing(open_source(tmp_path)) as listing:
            (note,) = listing.notes()
        assert note.startswith("hook/rights.csv, line 2: there is no photo 'a.jpg' in this batch")

    def test_a_row_with_a_wrong_cell_names_it(self, tmp_path: Path) -> None:
        found = with_table(tmp_path, f"{HEAD}\n{ROW.replace('2026-01-05', '05.01.2026')}", "a.jpg")
        with pytest.raises(NoRights, match=r"its row in hook/rights\.csv \(line 2\) is not complete \(cleared_on: "):
            found["hook/a.jpg"].rights()

    def test_a_table_that_cannot_be_used_arrives_itself_and_clears_nothing(self, tmp_path: Path) -> None:
        found = with_table(tmp_path, "name,licence\na.jpg,MIT", "a.jpg")
        assert found["hook/rights.csv"].fault.startswith(
            "no rights on record: rights.csv cannot be used: missing columns: file"
        )
        with pytest.raises(NoRights, match="missing columns: file, source, cleared_by, cleared_on, purpose"):
            found["hook/a.jpg"].rights()

    def test_a_table_that_breaks_off_in_the_middle_counts_for_nothing(self, tmp_path: Path) -> None:
        found = with_table(tmp_path, f'{HEAD}\n{ROW}\n"b.jpg,MIT', "a.jpg")
        with pytest.raises(NoRights, match="line 3 cannot be read"):
            found["hook/a.jpg"].rights()

    def test_names_match_however_their_accents_are_composed(self, tmp_path: Path) -> None:
        row = ROW.replace("a.jpg", "caf\u00e9.jpg")
        found = with_table(tmp_path, f"{HEAD}\n{row}", "cafe\u0301.jpg")
        assert found["hook/caf\u00e9.jpg"].rights()


def test_names_that_look_the_same_are_twins_and_one_must_be_renamed(tmp_path: Path) -> None:
    names = ("caf\u00e9.jpg", "cafe\u0301.jpg", "x\u200b.jpg", "x\u202e.jpg", "plain.jpg")
    for name in names:
        write(tmp_path / "hook" / name)
    with Listing(open_source(tmp_path)) as listing:
        faults = {arrival.key: arrival.fault for arrival in listing}
    assert len(faults) == 5
    assert sum(fault.startswith("a name twin: it looks the same") for fault in faults.values()) == 2
    assert not faults["hook/plain.jpg"]


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"{HEAD}\n{text}".encode()))
def test_no_table_can_crash_its_reader(data: bytes) -> None:
    with contextlib.suppress(NoRights):  # anything else that is raised fails the test
        for row in read_table(data):
            with contextlib.suppress(NoRights):
                rights_from(row.values, "its row")


@pytest.mark.parametrize(
    "save",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace(",", ";").encode("utf-8-sig"),
        lambda text: text.replace(",", "\t").encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: (text + "\n,,,,,\n\n").encode(),
        lambda text: text.replace("us", '"us, and them"').encode(),
        lambda text: text.replace("file,licence", "File , LICENCE").replace("cleared_by", "Cleared by").encode(),
    ],
    ids=["byte order mark", "semicolons", "unicode text", "line ends", "empty rows", "quotes", "headings"],
)
def test_a_table_may_come_from_any_spreadsheet(save: Callable[[str], bytes]) -> None:
    (row,) = read_table(save(f"{HEAD}\n{ROW}"))
    assert (row.line, row.file) == (2, "a.jpg")
    assert rights_from(row.values, "its row").cleared_by == "dana"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "missing columns: file"),
        (HEAD.encode() + b",lisence\n", "unknown columns: 'lisence'"),
        (HEAD.encode() + b",source\n", "columns twice: source"),
        (f"{HEAD}\n{ROW},one more\n".encode(), "line 2 has 7 cells for 6 columns"),
        (f"{HEAD}\n,MIT\n".encode(), "line 2 names no file"),
        (f"{HEAD}\n{ROW}".replace("us", "\u00fcs").encode("cp1252"), "not UTF-8; save it as 'CSV UTF-8'"),
        (f'{HEAD}\n{ROW}"x'.encode() + b'\n"', "cannot be read"),
    ],
)
def test_what_is_no_table_says_what_is_wrong(data: bytes, reason: str) -> None:
    with pytest.raises(NoRights, match=f"rights.csv cannot be used: .*{reason}"):
        list(read_table(data))


def test_a_table_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 10)
    with pytest.raises(NoRights, match="at most 10 are read"):
        list(read_table(HEAD.encode()))


@given(st.text(max_size=300) | st.binary(max_size=40).map(os.fsdecode))
def test_any_name_can_be_shown_and_recorded(name: str) -> None:
    shown = printable(name)
    assert len(shown) <= MAX_NAME
    assert not [char for char in shown if unicodedata.category(char)[0] == "C"]
    assert canonical_json(shown)
    assert printable(shown) == shown


def test_a_name_that_reads_backwards_is_made_plain() -> None:
    assert printable("a\u202egpj.exe\x1b[2K") == "a\ufffdgpj.exe\ufffd[2K"
