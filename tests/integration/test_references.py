"""Photos in, reference set out: the whole way of the reference photos, judged by the real Great Expectations."""

import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from PIL import ImageFilter

from seedbank.bank import Bank
from seedbank.concepts import Policy
from seedbank.errors import StoreError, UnusableReferences, UsageError, VerificationError
from seedbank.models.card import ModelCard
from seedbank.references.intake.run import intake
from seedbank.references.judging.suite_runner import SuiteRunner
from seedbank.references.judging.suites import photo_suite, read_suite, set_suite
from seedbank.references.photos import working_image
from seedbank.references.records import Checks, ReferenceSet, load_photos
from seedbank.references.validation import examine, validate
from support.measured_photos import put_photos
from support.photos import RIGHTS, jpeg, make_bank, photo, put

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.integration

TODAY = date(2026, 11, 24)


@dataclass(frozen=True)
class Gradients:
    """Histograms of oriented gradients: an embedding that needs no weights and tells an impeller from a washer."""

    card: ModelCard

    def __call__(self, images01: "Tensor") -> "Tensor":
        import torch
        from skimage.feature import hog
        from skimage.transform import resize

        grey = images01.mean(1).numpy()
        found = [hog(resize(image, (64, 64)), 8, (16, 16), (2, 2)) for image in grey]
        return torch.nn.functional.normalize(torch.from_numpy(np.stack(found)).float(), dim=-1)


HOG = Gradients(ModelCard(name="hog", source="scikit-image", content="0" * 64))


def fill(folder: Path, count: int = 9) -> Path:
    """``count`` clean photos of impellers."""
    for index in range(count):
        put(folder, f"impeller-{index}.jpg", jpeg(photo("impeller", index, 384)))
    return folder


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return make_bank(tmp_path, impeller={})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tmp_path / "photos" / "impeller"


def take(bank: Bank, photos: Path) -> None:
    intake(bank, photos.parent, requested_by="mia")


def frozen(bank: Bank) -> ReferenceSet:
    return validate(bank, bank.concept("impeller"), embedder=HOG, today=TODAY)


def test_every_bad_photo_is_caught_for_its_own_reason(bank: Bank, photos: Path) -> None:
    fill(photos)
    sharp = photo("impeller", 8, 384)
    put(photos, "blurred.jpg", jpeg(photo("impeller", 20, 384).filter(ImageFilter.GaussianBlur(4))))
    put(photos, "cropped.jpg", jpeg(sharp.crop((10, 8, 384, 380)), 75))
    put(photos, "expired.jpg", jpeg(photo("impeller", 21, 384)), RIGHTS | {"expires": "2026-02-01"})
    put(photos, "people.jpg", jpeg(photo("impeller", 22, 384)), RIGHTS | {"identifiable_people": True})
    put(photos, "research.jpg", jpeg(photo("impeller", 23, 384)), RIGHTS | {"purpose": ["research"]})
    put(photos, "tiny.jpg", jpeg(photo("impeller", 24, 384).resize((40, 40))))
    put(photos, "washer.jpg", jpeg(photo("washer", 1, 384)))
    take(bank, photos)
    found = frozen(bank)
    reasons = {assessment.name: assessment.reasons for assessment in found.assessments}
    for name, reason in {
        "blurred.jpg": "blurred: ",
        "cropped.jpg": "near duplicate of impeller-8.jpg",
        "expired.jpg": "rights expired on 2026-02-01",
        "people.jpg": "shows identifiable people without consent",
        "research.jpg": "rights do not cover 'synthetic-release'",
        "tiny.jpg": "too small: 40 pixels",
        "washer.jpg": "looks like something else",
    }.items():
        (said,) = reasons[name]
        assert said.startswith(reason)
    assert sum(assessment.chosen for assessment in found.assessments) == len(found.references) == 8
    assert {item.name for item in found.references} <= {f"impeller-{index}.jpg" for index in range(9)}


def test_the_set_is_frozen_with_its_checks_and_its_data_docs(bank: Bank, photos: Path) -> None:
    put_photos(bank, fill(photos, 6))
    found = frozen(bank)
    assert bank.load(ReferenceSet, found.digest) == bank.newest(ReferenceSet, "impeller") == found
    checks = Checks.from_bytes(bank.store.get(f"validations/{found.validation}.json"))
    assert checks.digest == found.validation
    assert {check.table for check in checks.checks} == {"photos", "reference_set"}
    assert all(check.success for check in checks.checks if check.severity == "critical")
    page = bank.store.get(f"reference-sets/{found.digest}/data-docs/index.html").decode()
    assert "reference_set" in page
    assert "photos" in page
    assert working_image(bank, found.references[0]).size == (384, 384)


def test_the_suite_files_are_what_runs(bank: Bank, photos: Path) -> None:
    put_photos(bank, fill(photos, 6))
    found = frozen(bank)
    checks = Checks.from_bytes(bank.store.get(f"validations/{found.validation}.json")).checks
    policy = bank.concept("impeller").policy
    for suite in (photo_suite(policy), set_suite(policy)):
        ran = [check for check in checks if check.table == suite.table]
        assert [(check.expectation, check.column, check.minimum, check.maximum, check.severity) for check in ran] == [
            (rule.type, rule.column, rule.minimum, rule.maximum, rule.severity) for rule in suite.rules
        ]
        folder = f"reference-sets/{found.digest}/data-docs/expectations/"
        (page,) = [key for key in bank.store.keys(folder) if key.endswith(f"/{suite.table}.html")]
        words = bank.store.get(page).decode()
        assert all(rule.column in words for rule in suite.rules)


def test_an_edited_suite_file_changes_the_checks() -> None:
    text = """
    name: photos
    expectations:
      - {type: expect_table_row_count_to_be_between, severity: critical, kwargs: {min_value: 3}}
      - {type: expect_column_values_to_not_be_null, severity: critical, kwargs: {column: sharpness}}
      - {type: expect_column_values_to_be_between, severity: warning, kwargs: {column: sharpness, min_value: LIMIT}}
    """
    rows = [{"photo": "a", "sharpness": 30.0}, {"photo": "b", "sharpness": float("nan")}]
    with SuiteRunner("strict") as runner:
        rows_check, present, strict = runner.run(read_suite(text.replace("LIMIT", "31"), Policy()), rows)
    with SuiteRunner("mild") as runner:
        _, _, mild = runner.run(read_suite(text.replace("LIMIT", "quality.min_sharpness"), Policy()), rows)
    assert (rows_check.success, rows_check.severity) == (False, "critical")
    assert (present.success, present.broken_by) == (False, ("b",))
    assert (strict.success, strict.broken_by, strict.severity) == (False, ("a",), "warning")
    assert mild.success


def test_the_report_lies_beside_the_data_docs_and_shows_every_photo(bank: Bank, photos: Path) -> None:
    put_photos(bank, fill(photos, 6))
    examination = examine(bank, bank.concept("impeller"), embedder=HOG, today=TODAY)
    page = bank.store.get(examination.report).decode()
    assert all(assessment.name in page for assessment in examination.assessments)
    (link,) = re.findall(r'<a href="([^"]+)"', page)
    assert bank.store.exists(f"{examination.folder}/{link}")
    assert "2 more usable photos would fill the set of 8" in examination.advice
    assert examination.unmeasured == ("agreement with siblings was not measured: the concept file names no siblings",)


def test_siblings_that_the_model_cannot_draw_freeze_nothing_and_take_nothing_back(
    bank: Bank, photos: Path, tmp_path: Path
) -> None:
    put_photos(bank, fill(photos, 6))
    before = frozen(bank)
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "weights.safetensors").write_bytes(b"no weights")
    profile = {"name": "broken", "pipeline": str(broken), "encoder": "parts", "guard": "parts"}
    bank.settings.models.mkdir(exist_ok=True)
    (bank.settings.models / "broken.yaml").write_text(yaml.safe_dump(profile))
    rewrite(bank, siblings=["a photo of a washer"], model="broken")
    with pytest.raises(
        UsageError, match=r"cannot compare the photos of impeller with its siblings: .*sibling_seeds to 0"
    ):
        frozen(bank)
    assert bank.newest(ReferenceSet, "impeller") == before
    assert len(list(bank.store.keys("validations/inputs/"))) == 1
    rewrite(bank, policy={"references": {"sibling_seeds": 0}})
    examination = examine(bank, bank.concept("impeller"), embedder=HOG, today=TODAY)
    assert examination.reference_set
    assert examination.unmeasured == ("agreement with siblings was not measured: policy.references.sibling_seeds is 0",)


def rewrite(bank: Bank, **fields: object) -> None:
    """Change the concept file."""
    path = bank.settings.concepts / "impeller.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8")) | fields
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def pick(bank: Bank, **picks: list[str]) -> None:
    rewrite(bank, references=picks)


def test_the_steward_pins_and_bans(bank: Bank, photos: Path) -> None:
    fill(photos, 7)
    put(photos, "blurred.jpg", jpeg(photo("impeller", 20, 384).filter(ImageFilter.GaussianBlur(4))))
    put(photos, "copy.jpg", jpeg(photo("impeller", 3, 384), 60))
    put_photos(bank, photos)
    pick(bank, pin=["blurred.jpg", "copy.jpg"], ban=["impeller-0.jpg"])
    examination = examine(bank, bank.concept("impeller"), embedder=HOG, today=TODAY)
    chosen = [item.name for item in bank.load(ReferenceSet, examination.reference_set).references]
    said = {assessment.name: assessment.reasons for assessment in examination.assessments}
    notes = {assessment.name: assessment.notes for assessment in examination.assessments}
    assert chosen[:2] == ["blurred.jpg", "copy.jpg"]
    assert {"impeller-0.jpg", "impeller-3.jpg"}.isdisjoint(chosen)
    assert "because the steward pinned it" in said["blurred.jpg"][0]
    assert notes["blurred.jpg"][0].startswith("pinned against this: blurred")
    assert said["impeller-0.jpg"] == ("banned by the steward in the concept file",)
    assert said["impeller-3.jpg"][0].startswith("near duplicate of copy.jpg")
    assert "pinned against advice: blurred.jpg" in examination.warnings


def test_a_pinned_photo_without_rights_refuses_the_set(bank: Bank, photos: Path) -> None:
    put(photos, "expired.jpg", jpeg(photo("impeller", 21, 384)), RIGHTS | {"expires": "2026-02-01"})
    put_photos(bank, fill(photos, 6))
    pick(bank, pin=["expired.jpg"])
    with pytest.raises(
        UnusableReferences, match=r"pinned, but must not be used: expired\.jpg: rights expired on 2026-02-01"
    ):
        frozen(bank)


def test_a_pin_that_intake_set_aside_is_used_wrongly(bank: Bank, photos: Path) -> None:
    put(photos, "broken.jpg", jpeg(photo("impeller", 21, 384))[:900])
    take(bank, fill(photos, 6))
    pick(bank, pin=["broken.jpg"])
    with pytest.raises(
        UsageError, match=r"references.pin names 'broken\.jpg'.*a photo that intake set aside is not among them"
    ):
        frozen(bank)


def test_of_very_many_photos_a_sample_is_judged_with_what_is_pinned(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, impeller={"references": {"max_judged": 6}})
    put_photos(bank, fill(tmp_path / "photos" / "impeller", 9))
    all_photos = load_photos(bank, "impeller")
    pick(bank, pin=[all_photos[-1].photo[:10]])
    examination = examine(bank, bank.concept("impeller"), embedder=HOG, today=TODAY)
    assert {assessment.photo for assessment in examination.assessments} == {
        item.photo for item in (*all_photos[:5], all_photos[-1])
    }
    assert examination.warnings[0].startswith("only 6 of 9 photos were judged")


def test_the_same_photos_give_the_same_set_and_is_judged_once(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    digests = []
    for folder in folders:
        folder.mkdir()
        bank = make_bank(folder, impeller={})
        put_photos(bank, fill(folder / "photos" / "impeller", 6))
        digests.append(frozen(bank).digest)
        before = list(bank.store.keys())
        assert frozen(bank).digest == digests[-1]
        assert list(bank.store.keys()) == before
    assert digests[0] == digests[1]


@dataclass(frozen=True)
class NeverAsked:
    """An embedding of which only the name may be asked."""

    card: ModelCard

    def __call__(self, images01: "Tensor") -> "Tensor":
        raise AssertionError("photos that were judged before are embedded again")


def test_photos_that_were_judged_before_are_not_embedded_again(bank: Bank, photos: Path) -> None:
    put_photos(bank, fill(photos, 5))
    first = frozen(bank)
    again = validate(bank, bank.concept("impeller"), embedder=NeverAsked(HOG.card), today=TODAY)
    assert again == first
    put_photos(bank, fill(photos, 6))
    with pytest.raises(AssertionError, match="embedded again"):
        validate(bank, bank.concept("impeller"), embedder=NeverAsked(HOG.card), today=TODAY)


def test_photos_that_change_and_change_back_are_on_record_each_time(bank: Bank, photos: Path) -> None:
    put_photos(bank, fill(photos, 5))
    first = frozen(bank)
    put(photos, "sixth.jpg", jpeg(photo("impeller", 30, 384)))
    put_photos(bank, photos)
    assert frozen(bank) != first
    sixth = next(item for item in load_photos(bank, "impeller") if item.name == "sixth.jpg")
    bank.store.delete(f"photos/impeller/{sixth.photo}.json")
    assert frozen(bank) == first == bank.newest(ReferenceSet, "impeller")
    assert len(list(bank.ledger.entries(event="references.validated"))) == 3


def test_too_few_photos_are_refused_with_a_line_for_each(bank: Bank, photos: Path) -> None:
    fill(photos, 4)
    put(photos, "tiny.jpg", jpeg(photo("impeller", 24, 384).resize((40, 40))))
    put_photos(bank, photos)
    with pytest.raises(
        UnusableReferences, match=r"4 usable photos, at least 5 are needed\n  tiny\.jpg: too small"
    ) as refused:
        frozen(bank)
    assert refused.value.exit_code == 1
    (entry,) = bank.ledger.entries(event="references.refused")
    assert bank.store.exists(f"validations/{entry.data['validation']}/data-docs/index.html")
    with pytest.raises(UnusableReferences, match=r"the photos of impeller were refused on .*: 4 usable photos"):
        bank.newest(ReferenceSet, "impeller")


@pytest.mark.parametrize("count", [0, 1])
def test_no_photo_or_one_fails_by_rule(bank: Bank, photos: Path, count: int) -> None:
    put_photos(bank, fill(photos, count)) if count else None
    with pytest.raises(
        UnusableReferences,
        match=f"{count} photos in the batch, at least 2 are needed.*{count} usable photos, at least 5",
    ):
        frozen(bank)


def test_rights_that_run_out_take_the_set_back(bank: Bank, photos: Path) -> None:
    for index in range(5):
        put(photos, f"{index}.jpg", jpeg(photo("impeller", index, 384)), RIGHTS | {"expires": "2026-12-01"})
    put_photos(bank, photos)
    assert len(frozen(bank).references) == 5
    with pytest.raises(UnusableReferences, match="rights expired on 2026-12-01: dana"):
        validate(bank, bank.concept("impeller"), embedder=HOG, today=date(2026, 12, 2))
    with pytest.raises(UnusableReferences, match="were refused"):
        bank.newest(ReferenceSet, "impeller")


def test_warnings_are_told_and_refuse_nothing(tmp_path: Path) -> None:
    bank = make_bank(tmp_path, impeller={"references": {"min_effective_number": 4.0}, "quality": {"max_exposure": 0.0}})
    put_photos(bank, fill(tmp_path / "photos" / "impeller", 5))
    found = examine(bank, bank.concept("impeller"), embedder=HOG, today=TODAY)
    assert any("too alike" in words for words in found.warnings)
    assert all("note: overexposed" in " ".join(assessment.lines) for assessment in found.assessments)
    assert found.reference_set


def test_what_was_never_validated_has_no_set(bank: Bank) -> None:
    with pytest.raises(UnusableReferences, match="run `seedbank validate impeller` first"):
        bank.newest(ReferenceSet, "impeller")
    with pytest.raises(UnusableReferences, match="no reference set"):
        bank.load(ReferenceSet, "0" * 64)


def test_a_changed_set_is_not_loaded(bank: Bank, photos: Path) -> None:
    put_photos(bank, fill(photos, 5))
    digest = frozen(bank).digest
    key = f"reference-sets/{digest}.json"
    changed = json.loads(bank.store.get(key)) | {"concept": "washer"}
    bank.store.put(key, json.dumps(changed).encode())
    with pytest.raises(VerificationError, match=f"expected reference set {digest}"):
        bank.load(ReferenceSet, digest)


def test_a_lost_working_copy_is_named(bank: Bank, photos: Path) -> None:
    put_photos(bank, fill(photos, 1))
    (reference,) = load_photos(bank, "impeller")
    bank.store.delete(f"working/{reference.photo}.png")
    with pytest.raises(StoreError, match=r"no working copy of impeller-0\.jpg"):
        working_image(bank, reference)
