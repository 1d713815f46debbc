import io
import math
import os
import shutil
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from PIL import Image

from seedbank.bank import Bank
from seedbank.errors import UsageError, VerificationError
from seedbank.inspection.status import status
from seedbank.records import sha256
from seedbank.references.intake.outcomes import IntakeReport
from seedbank.references.intake.run import UNSORTED
from seedbank.references.measures.kept import keep_measures, load_measures
from seedbank.references.measures.photo import measure
from seedbank.references.photos import working_image
from seedbank.references.records import Quarantined, load_photos
from seedbank.references.rights import check_reference
from support.photos import RIGHTS, Take, face, jpeg, photo, put


def names(report: IntakeReport) -> dict[str, list[str]]:
    return {kind: found for kind in report.counts if (found := [item.name for item in report.of_kind(kind)])}


def snapshot(bank: Bank) -> dict[str, bytes]:
    return {key: bank.store.get(key) for key in bank.store.keys()}  # noqa: SIM118


def test_a_photo_goes_to_its_concept_untouched_and_as_a_working_copy(bank: Bank, take: Take, tmp_path: Path) -> None:
    data = jpeg(photo())
    put(tmp_path / "in" / "wingnut", "one.jpg", data)
    report = take(bank, tmp_path / "in")
    (reference,) = load_photos(bank, "wingnut")
    assert names(report) == {"accepted": ["one.jpg"]}
    assert report.concepts == ("wingnut",)
    assert (reference.photo, reference.width, reference.height, reference.format) == (sha256(data), 160, 160, "JPEG")
    assert reference.rights.cleared_by == "dana"
    assert bank.store.get(f"originals/{reference.photo}") == data
    with Image.open(io.BytesIO(bank.store.get(f"working/{reference.photo}.png"))) as copy:
        assert (copy.format, copy.mode, copy.size) == ("PNG", "RGB", (160, 160))


def test_every_bad_photo_is_kept_out_for_its_own_reason(bank: Bank, take: Take, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "wingnut"
    good = jpeg(photo())
    put(folder, "1-good.jpg", good)
    put(folder, "2-again.jpg", good)
    put(folder, "3-truncated.jpg", jpeg(photo(index=1))[:2000])
    put(folder, "4-no-rights.jpg", jpeg(photo(index=2)), rights=None)
    put(folder, "5-half-rights.jpg", jpeg(photo(index=3)), rights={"licence": "MIT"})
    put(folder, "6-text.jpg", b"hello")
    put(tmp_path / "in" / "Wing Nut", "7-unknown.jpg", good)
    put(tmp_path / "in", "8-loose.jpg", good)
    report = take(bank, tmp_path / "in")
    reasons = {item.name: item.reason for item in (*report.duplicate, *report.quarantined)}
    assert names(report)["accepted"] == ["1-good.jpg"]
    for name, reason in {
        "2-again.jpg": "exact duplicate: the same bytes as 1-good.jpg",
        "3-truncated.jpg": "corrupt",
        "4-no-rights.jpg": "no rights on record: there is no sidecar",
        "5-half-rights.jpg": "no rights on record: its sidecar is not complete (source: field required",
        "6-text.jpg": "not a picture",
        "7-unknown.jpg": "no concept 'Wing Nut'",
        "8-loose.jpg": "in no concept's folder",
    }.items():
        assert reasons[name].startswith(reason)


def test_of_two_equal_files_the_one_with_the_short_name_is_the_photo(bank: Bank, take: Take, tmp_path: Path) -> None:
    for name in ("Copy of one.jpg", "one (1).jpg", "one.jpg"):
        put(tmp_path / "in" / "wingnut", name, jpeg(photo()))
    report = take(bank, tmp_path / "in")
    assert names(report) == {"accepted": ["one.jpg"], "duplicate": ["one (1).jpg", "Copy of one.jpg"]}


def test_quarantine_keeps_the_bytes_and_the_reason(bank: Bank, take: Take, tmp_path: Path) -> None:
    put(tmp_path / "in" / "wingnut", "bad.jpg", b"hello")
    (outcome,) = take(bank, tmp_path / "in").quarantined
    record = Quarantined.from_bytes(bank.store.get(f"quarantine/wingnut/{outcome.digest}.json"))
    assert (record.name, record.reason, record.size, record.kept) == ("bad.jpg", outcome.reason, 5, True)
    assert bank.store.get(f"quarantine/bytes/{outcome.digest}") == b"hello"


def test_what_was_never_read_is_quarantined_by_name_alone(bank: Bank, take: Take, tmp_path: Path) -> None:
    (tmp_path / "in" / "wingnut").mkdir(parents=True)
    (tmp_path / "in" / "wingnut" / "link.jpg").symlink_to(put(tmp_path, "real.jpg", jpeg(photo())))
    (outcome,) = take(bank, tmp_path / "in").quarantined
    record = Quarantined.from_bytes(bank.store.get(f"quarantine/wingnut/{outcome.digest}.json"))
    assert not record.kept
    assert not bank.store.exists(f"quarantine/bytes/{outcome.digest}")


def test_a_second_run_changes_nothing(bank: Bank, take: Take, tmp_path: Path) -> None:
    put(tmp_path / "in" / "wingnut", "one.jpg", jpeg(photo()))
    put(tmp_path / "in" / "wingnut", "bad.jpg", b"hello")
    put(tmp_path / "in" / "hook", "two.jpg", jpeg(photo("hook")))
    take(bank, tmp_path / "in")
    before = snapshot(bank)
    again = take(bank, tmp_path / "in")
    assert names(again) == {"known": ["two.jpg", "one.jpg"], "quarantined": ["bad.jpg"]}
    assert again.concepts == ()
    assert snapshot(bank) == before


def test_adding_the_sidecar_brings_a_photo_out_of_quarantine(bank: Bank, take: Take, tmp_path: Path) -> None:
    data = jpeg(photo())
    put(tmp_path / "in" / "wingnut", "one.jpg", data, rights=None)
    take(bank, tmp_path / "in")
    put(tmp_path / "in" / "wingnut", "one.jpg", data)
    assert names(take(bank, tmp_path / "in"))["accepted"] == ["one.jpg"]
    assert not list(bank.store.keys("quarantine/"))
    assert [entry.event for entry in bank.ledger.entries()] == [
        "request.intake",
        "intake.quarantined",
        "intake.accepted",
    ]


def test_bytes_stay_in_quarantine_while_another_concept_holds_them(bank: Bank, take: Take, tmp_path: Path) -> None:
    data = jpeg(photo())
    put(tmp_path / "in" / "wingnut", "one.jpg", data, rights=None)
    put(tmp_path / "in" / "hook", "one.jpg", data, rights=None)
    take(bank, tmp_path / "in")
    put(tmp_path / "in" / "wingnut", "one.jpg", data)
    take(bank, tmp_path / "in")
    assert list(bank.store.keys("quarantine/")) == [
        f"quarantine/bytes/{sha256(data)}",
        f"quarantine/hook/{sha256(data)}.json",
    ]


def test_renewed_rights_are_taken_over_and_put_on_record(bank: Bank, take: Take, tmp_path: Path) -> None:
    data = jpeg(photo())
    put(tmp_path / "in" / "wingnut", "one.jpg", data, rights={**RIGHTS, "expires": "2026-02-01"})
    take(bank, tmp_path / "in")
    put(tmp_path / "in" / "wingnut", "one.jpg", data, rights={**RIGHTS, "expires": "2028-02-01"})
    (outcome,) = take(bank, tmp_path / "in").accepted
    (reference,) = load_photos(bank, "wingnut")
    assert outcome.reason == "rights changed"
    assert str(reference.rights.expires) == "2028-02-01"
    assert [entry.data["reason"] for entry in bank.ledger.entries(event="intake.accepted")] == [
        "taken in",
        "rights changed",
    ]


def test_a_photo_that_lost_its_sidecar_keeps_the_rights_on_record(bank: Bank, take: Take, tmp_path: Path) -> None:
    put(tmp_path / "in" / "wingnut", "one.jpg", jpeg(photo()))
    take(bank, tmp_path / "in")
    (tmp_path / "in" / "wingnut" / "one.jpg.yaml").unlink()
    assert names(take(bank, tmp_path / "in")) == {"known": ["one.jpg"]}


def test_a_flat_folder_goes_to_the_named_concept(bank: Bank, take: Take, tmp_path: Path) -> None:
    put(tmp_path / "in", "one.jpg", jpeg(photo()))
    assert take(bank, tmp_path / "in", "wingnut").concepts == ("wingnut",)


def test_a_named_concept_must_exist(bank: Bank, take: Take, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no concept 'sprocket'"):
        take(bank, tmp_path, "sprocket")


def test_a_folder_with_a_misleading_name_is_only_a_wrong_name(bank: Bank, take: Take, tmp_path: Path) -> None:
    put(tmp_path / "in" / "wingnut..", "one.jpg", jpeg(photo()))
    put(tmp_path / "in" / "wing\nnut", "two.jpg", jpeg(photo()))
    report = take(bank, tmp_path / "in")
    assert {item.concept for item in report.quarantined} == {UNSORTED}
    assert all("\n" not in item.reason for item in report.quarantined)


def test_names_that_are_no_text_do_not_stop_the_batch(bank: Bank, take: Take, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "wingnut"
    put(folder, "one.jpg", jpeg(photo()))
    shutil.copy(folder / "one.jpg", os.fsencode(folder) + b"/\xff\xfe\xfd\xfc.jpg")
    put(folder, "zzzz\u202e.jpg", jpeg(photo(index=1)))
    report = take(bank, tmp_path / "in")
    assert names(report) == {
        "accepted": ["one.jpg", "zzzz\ufffd.jpg"],
        "duplicate": [4 * "\ufffd" + ".jpg"],
    }


def test_every_file_is_accounted_for_exactly_once(bank: Bank, take: Take, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "wingnut"
    base = jpeg(photo(size=64))
    for number in range(40):
        spoiled = bytearray(base)
        spoiled[number * 37 % len(base)] ^= 0x55
        put(folder, f"{number:02}.jpg", bytes(spoiled))
    said = Counter(name for group in names(take(bank, tmp_path / "in")).values() for name in group)
    assert said == Counter(f"{number:02}.jpg" for number in range(40))


def test_exact_duplicates_are_on_record_once_with_the_name_of_the_original(
    bank: Bank, take: Take, tmp_path: Path
) -> None:
    for name in ("one.jpg", "Copy of one.jpg", "twice.jpg"):
        put(tmp_path / "in" / "wingnut", name, jpeg(photo()))
    for _ in range(2):
        take(bank, tmp_path / "in", again=True)
    said = [(entry.data["name"], entry.data["of"]) for entry in bank.ledger.entries(event="photo.duplicate")]
    assert said == [("twice.jpg", "one.jpg"), ("Copy of one.jpg", "one.jpg")]
    (stands,) = status(bank)
    assert stands.detail == "1 accepted, 0 in quarantine, 2 exact duplicates"


class TestFaces:
    def test_a_photo_with_a_face_and_no_consent_waits_and_says_who_can_mend_it(
        self, bank: Bank, take: Take, tmp_path: Path
    ) -> None:
        put(tmp_path / "in" / "wingnut", "portrait.jpg", jpeg(face()))
        (outcome,) = take(bank, tmp_path / "in").waiting
        assert outcome.reason.startswith(
            "waits: it shows what may be a face and no consent is on record; dana adds where"
        )
        (reference,) = load_photos(bank, "wingnut")
        assert reference.faces == 1
        (fault,) = check_reference(reference, purpose="synthetic-release", today=date(2026, 11, 24))
        assert fault == outcome.reason
        (stands,) = status(bank)
        assert stands.detail == "0 accepted, 0 in quarantine, 1 waiting for consent"

    def test_it_goes_on_waiting_without_being_read_again(self, bank: Bank, take: Take, tmp_path: Path) -> None:
        path = put(tmp_path / "in" / "wingnut", "portrait.jpg", jpeg(face()))
        first = take(bank, tmp_path / "in")
        path.chmod(0)
        assert take(bank, tmp_path / "in").waiting != ()
        assert [entry.event for entry in bank.ledger.entries()] == ["request.intake", "photo.waiting"]
        assert first.concepts == ()

    @pytest.mark.parametrize(
        "answer",
        [{"identifiable_people": True, "consent": "folder 7"}, {"people_checked_by": "dora"}],
        ids=["consent", "somebody looked"],
    )
    def test_the_answer_makes_it_usable_at_the_next_scan(
        self, bank: Bank, take: Take, tmp_path: Path, answer: dict[str, object]
    ) -> None:
        put(tmp_path / "in" / "wingnut", "portrait.jpg", jpeg(face()))
        take(bank, tmp_path / "in")
        put(tmp_path / "in" / "wingnut", "portrait.jpg", jpeg(face()), RIGHTS | answer)
        report = take(bank, tmp_path / "in")
        assert names(report)["accepted"] == ["portrait.jpg"]
        assert report.concepts == ("wingnut",)
        (reference,) = load_photos(bank, "wingnut")
        assert check_reference(reference, purpose="synthetic-release", today=date(2026, 11, 24)) == []
        (stands,) = status(bank)
        assert stands.detail == "1 accepted, 0 in quarantine"

    def test_people_who_were_named_with_consent_need_not_wait(self, bank: Bank, take: Take, tmp_path: Path) -> None:
        put(tmp_path / "in" / "wingnut", "portrait.jpg", jpeg(face()), RIGHTS | {"consent": "folder 7"})
        assert names(take(bank, tmp_path / "in"))["accepted"] == ["portrait.jpg"]


class TestRightsTable:
    ROWS = "file,licence,source,cleared_by,cleared_on,expires,purpose\n{}\n"
    ROW = "{},MIT,us,dora,2026-01-05,{},synthetic-release"

    def test_a_batch_is_cleared_by_one_table(self, bank: Bank, take: Take, tmp_path: Path) -> None:
        folder = tmp_path / "in" / "wingnut"
        for index in range(2):
            put(folder, f"{index}.jpg", jpeg(photo(index=index)), rights=None)
        put(folder, "own.jpg", jpeg(photo(index=2)))
        put(folder, "forgotten.jpg", jpeg(photo(index=3)), rights=None)
        rows = [self.ROW.format(name, "") for name in ("0.jpg", "1.jpg", "gone.jpg")]
        (folder / "rights.csv").write_text(self.ROWS.format("\n".join(rows)))
        report = take(bank, tmp_path / "in")
        assert names(report) == {
            "accepted": ["0.jpg", "1.jpg", "own.jpg"],
            "quarantined": ["forgotten.jpg"],
        }
        assert "wingnut/rights.csv has no row for it" in report.quarantined[0].reason
        assert report.notes == (
            "wingnut/rights.csv, line 4: there is no photo 'gone.jpg' in this batch; check its name, or hand it in",
        )
        assert {item.rights.cleared_by for item in load_photos(bank, "wingnut")} == {"dora", "dana"}

    def test_a_changed_row_changes_the_rights_of_its_photo_alone(self, bank: Bank, take: Take, tmp_path: Path) -> None:
        folder = tmp_path / "in" / "wingnut"
        for index in range(2):
            put(folder, f"{index}.jpg", jpeg(photo(index=index)), rights=None)
        for expires in ("2027-01-01", "2028-01-01"):
            rows = [self.ROW.format("0.jpg", "2027-01-01"), self.ROW.format("1.jpg", expires)]
            (folder / "rights.csv").write_text(self.ROWS.format("\n".join(rows)))
            report = take(bank, tmp_path / "in")
        assert [(item.name, item.reason) for item in report.accepted] == [("1.jpg", "rights changed")]

    def test_a_table_that_cannot_be_used_stops_no_photo_with_a_sidecar(
        self, bank: Bank, take: Take, tmp_path: Path
    ) -> None:
        folder = tmp_path / "in" / "wingnut"
        put(folder, "own.jpg", jpeg(photo()))
        put(folder, "row.jpg", jpeg(photo(index=1)), rights=None)
        (folder / "rights.csv").write_text("photo;licence\nrow.jpg;MIT\n")
        report = take(bank, tmp_path / "in")
        assert names(report)["accepted"] == ["own.jpg"]
        assert sorted(names(report)["quarantined"]) == ["rights.csv", "row.jpg"]
        assert {item.reason.partition(";")[0] for item in report.quarantined} == {
            "no rights on record: rights.csv cannot be used: missing columns: file, source, cleared_by, cleared_on, purpose"
        }
        (folder / "rights.csv").write_text(self.ROWS.format(self.ROW.format("row.jpg", "")))
        assert names(take(bank, tmp_path / "in"))["accepted"] == ["row.jpg"]


class TestMeasures:
    def test_intake_keeps_what_measuring_the_working_copy_would_give(
        self, bank: Bank, take: Take, tmp_path: Path
    ) -> None:
        put(tmp_path / "in" / "wingnut", "one.jpg", jpeg(photo()))
        take(bank, tmp_path / "in")
        (reference,) = load_photos(bank, "wingnut")

        def decode() -> Image.Image:
            raise AssertionError("decoded again")

        assert load_measures(bank.store, reference, decode) == measure(working_image(bank, reference), jpeg(photo()))

    def test_measures_of_other_rules_or_none_are_taken_anew(self, bank: Bank, take: Take, tmp_path: Path) -> None:
        put(tmp_path / "in" / "wingnut", "one.jpg", jpeg(photo()))
        take(bank, tmp_path / "in")
        (reference,) = load_photos(bank, "wingnut")
        key, image = f"measures/{reference.photo}.json", working_image(bank, reference)
        bank.store.put(key, b'{"version": 0, "measures": {"sharpness": 1e9}}')
        assert load_measures(bank.store, reference, lambda: image) == measure(image, jpeg(photo()))
        bank.store.delete(key)
        assert load_measures(bank.store, reference, lambda: image) == measure(image, jpeg(photo()))

    def test_what_cannot_be_measured_comes_back_as_such(self, bank: Bank, take: Take, tmp_path: Path) -> None:
        put(tmp_path / "in" / "wingnut", "one.jpg", jpeg(photo()))
        take(bank, tmp_path / "in")
        (reference,) = load_photos(bank, "wingnut")
        keep_measures(bank.store, reference.photo, {"noise": float("nan"), "aspect": 1.5})
        found = load_measures(bank.store, reference, lambda: photo())
        assert found["aspect"] == 1.5
        assert math.isnan(found["noise"])


def test_a_working_copy_that_was_changed_is_not_used(bank: Bank, take: Take, tmp_path: Path) -> None:
    put(tmp_path / "in" / "wingnut", "one.jpg", jpeg(photo()))
    take(bank, tmp_path / "in")
    (reference,) = load_photos(bank, "wingnut")
    assert sha256(bank.store.get(f"working/{reference.photo}.png")) == reference.working
    bank.store.put(f"working/{reference.photo}.png", jpeg(photo(index=1)))
    with pytest.raises(VerificationError, match=r"the working copy of one\.jpg was changed"):
        working_image(bank, reference)
