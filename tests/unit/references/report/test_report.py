import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import ImageFilter

from seedbank.concepts import Concept, Policy
from seedbank.references.choosing.assessments import assess, broken_by
from seedbank.references.choosing.choice import choose_photos, measure_set
from seedbank.references.judging.measured_photos import MeasuredPhotos, numbers
from seedbank.references.judging.siblings import Siblings
from seedbank.references.judging.suites import BETWEEN, photo_suite, set_suite
from seedbank.references.measures.catalogue import PHOTO, RELATION, SET
from seedbank.references.records import Check, Examination
from seedbank.references.report.page import ReportContent, number, write_report
from support.measured_photos import measured_photos
from support.photos import jpeg, photo

SUITES = {"photos": photo_suite(Policy()), "reference_set": set_suite(Policy())}
SIBLINGS = Siblings(prompts=("a photo of a <rod>",), centroids=np.array([[0.0, 1.0]]))


def checks(photos: MeasuredPhotos) -> tuple[Check, ...]:
    """How the suite of photos comes out, by its own bounds; real Great Expectations are asked in the integration tests."""
    found = []
    for place, rule in enumerate(SUITES["photos"].rules):
        bad = [row["photo"] for row in photos.rows if rule.type == BETWEEN and rule.shortfall(row[rule.column]) > 0]
        found.append(
            Check(
                table="photos",
                rule=place,
                expectation=rule.type,
                column=rule.column,
                minimum=rule.minimum,
                maximum=rule.maximum,
                severity=rule.severity,
                success=not bad,
                broken_by=tuple(bad),
            )
        )
    return tuple(found)


def content(count: int = 6, refusal: str = "") -> ReportContent:
    blurred = photo(index=0).filter(ImageFilter.GaussianBlur(6))
    images = [photo(index=index) for index in range(1, count)] + [blurred] * (count > 0)
    photos = measured_photos(images, np.linspace(0, 0.5, count).tolist(), siblings=SIBLINGS)
    judged = checks(photos)
    out = broken_by(judged, "critical")
    choice = choose_photos(photos, out, 3)
    examination = Examination(
        concept="wingnut",
        validation="a" * 64,
        reference_set="" if refusal else "b" * 64,
        refusal=refusal,
        warnings=("mind <this>",),
        advice=("no photo on a dark background",),
        unmeasured=("agreement was not measured",),
        assessments=assess(photos, SUITES["photos"], judged, choice),
        measures=numbers(measure_set(photos, choice, out)),
    )
    concept = Concept(name="wingnut", prompt="a photo of a wingnut", owner="mia", siblings=SIBLINGS.prompts)
    return ReportContent(
        concept=concept,
        examination=examination,
        photos=photos,
        choice=choice,
        siblings=SIBLINGS,
        suites=SUITES,
        checks=judged,
        sibling_images=(jpeg(photo()),),
    )


@pytest.fixture(scope="module")
def page() -> str:
    return write_report(content()).decode()


class Balance(HTMLParser):
    """Fails on a tag that is not closed in order."""

    VOID = frozenset({"meta", "img", "line", "rect", "circle", "image"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(page: str) -> None:
    assert not re.findall(r'(?:src|href)="(?!data:image/|data-docs/index\.html")', page)
    assert "<script" not in page
    assert "@import" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_is_well_formed(page: str) -> None:
    balance = Balance()
    balance.feed(page)
    assert balance.open == []


def test_every_photo_is_shown_with_its_assessment_in_plain_words(page: str) -> None:
    found = content()
    for assessment in found.examination.assessments:
        assert page.count(f"<b>{assessment.name}</b>") == 1
        assert page.count(f"<title>{assessment.name}</title>") == 1
    assert page.count('<figure class="chosen">') == 3
    assert page.count('<figure class="out">') == 1
    assert "blurred: sharpness" in page
    assert "usable, but not needed" in page


def test_what_to_do_next_and_what_is_missing_is_told(page: str) -> None:
    assert "<li>no photo on a dark background</li>" in page
    assert "mind &lt;this&gt;" in page
    assert "Not measured: agreement was not measured" in page


def test_every_measure_is_named_with_its_unit_and_source(page: str) -> None:
    for item in (*PHOTO, *RELATION, *SET):
        assert f"<code>{item.name}</code>" in page
    assert "variance of the Laplacian, Pech-Pacheco et al. 2000" in page
    assert "grey levels²" in page


def test_thresholds_are_drawn(page: str) -> None:
    assert page.count('class="line-critical"') >= 5
    assert page.count('class="line-warning"') >= 6


def test_names_of_siblings_cannot_break_the_page(page: str) -> None:
    assert "a photo of a &lt;rod&gt;" in page
    assert "<rod>" not in page


def test_the_same_content_gives_the_same_bytes() -> None:
    assert write_report(content()) == write_report(content())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_refused_photos_have_a_report_too(count: int) -> None:
    page = write_report(content(count, refusal=f"{count} usable photos, at least 5 are needed")).decode()
    assert f"<b>No set was frozen:</b> {count} usable photos" in page
    assert "set frozen" not in page


@pytest.mark.parametrize(
    ("value", "words"), [(0.12345, "0.123"), (1234.5, "1,234"), (20.0, "20"), (-3.5, "-3.5"), (0.0, "0")]
)
def test_numbers_are_short(value: float, words: str) -> None:
    assert number(value) == words
