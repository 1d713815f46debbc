import contextlib
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbank.references.records import Reference, Rights
from seedbank.references.rights import NoRights, check_reference, check_rights, face_question, parse_sidecar

TODAY = date(2026, 11, 24)
FIELDS = b"licence: CC-BY-4.0\nsource: own workshop\ncleared_by: dana\ncleared_on: 2026-01-05\npurpose: [synthetic-release]\n"


def rights(**changes: object) -> Rights:
    return Rights.model_validate(parse_sidecar(FIELDS).model_dump() | changes)


def test_a_sidecar_becomes_rights() -> None:
    read = parse_sidecar(FIELDS + b"expires: 2027-01-01\nidentifiable_people: true\nconsent: folder 7\n")
    assert (read.licence, read.cleared_by, read.expires, read.consent) == (
        "CC-BY-4.0",
        "dana",
        date(2027, 1, 1),
        "folder 7",
    )


def test_one_purpose_may_stand_without_a_list() -> None:
    assert parse_sidecar(FIELDS.replace(b"[synthetic-release]", b"synthetic-release")) == parse_sidecar(FIELDS)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "expected a sidecar with the fields licence"),
        (b"- a\n- list\n", "expected a sidecar with the fields licence"),
        (b"licence: [", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"[" * 20_000, "not YAML"),
        (b"!!python/object/apply:os.system ['true']", "not YAML"),
        (b"a" * 70_000, "70,000 bytes"),
        (FIELDS.replace(b"2026-01-05", b"2026-13-45"), "not YAML"),
        (FIELDS.replace(b"2026-01-05", b"last week"), "cleared_on: "),
        (FIELDS.replace(b"licence: CC-BY-4.0\n", b""), "licence: field required"),
        (FIELDS.replace(b"CC-BY-4.0", b"'  '"), "licence: string should have at least 1 character"),
        (FIELDS.replace(b"[synthetic-release]", b"[]"), "purpose: "),
        (FIELDS + b"lisence: MIT\n", "lisence: extra inputs are not permitted"),
    ],
)
def test_what_is_no_complete_sidecar_is_no_rights(data: bytes, reason: str) -> None:
    with pytest.raises(NoRights, match=f"no rights on record: .*{reason}"):
        parse_sidecar(data)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=120)
    | st.text(max_size=120).map(str.encode)
    | st.binary(max_size=10).map(lambda tail: FIELDS + tail)
)
def test_no_sidecar_can_crash_the_reader(data: bytes) -> None:
    with contextlib.suppress(NoRights):  # anything else that is raised fails the test
        assert parse_sidecar(data).licence


def test_rights_that_hold_have_no_fault() -> None:
    assert check_rights(rights(expires=TODAY), purpose="synthetic-release", today=TODAY) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"expires": date(2026, 11, 23)}, "expired on 2026-11-23: dana can renew"),
        ({"cleared_on": date(2026, 11, 25)}, "cleared only from 2026-11-25"),
        ({"purpose": ("research",)}, "do not cover 'synthetic-release' (only research): dana can ask own workshop"),
        ({"identifiable_people": True}, "people without consent on record: dana can add"),
        ({"identifiable_people": True, "consent": ""}, "people without consent on record"),
    ],
)
def test_every_fault_says_who_can_mend_it(changes: dict[str, object], fault: str) -> None:
    (said,) = check_rights(rights(**changes), purpose="synthetic-release", today=TODAY)
    assert fault in said


def test_all_faults_are_named_at_once() -> None:
    wrong = rights(expires=date(2026, 2, 1), purpose=("research",), identifiable_people=True)
    assert len(check_rights(wrong, purpose="synthetic-release", today=TODAY)) == 3


def reference(faces: int, **changes: object) -> Reference:
    size = {"width": 8, "height": 8, "format": "JPEG"}
    return Reference(
        photo="0" * 64, working="0" * 64, concept="hook", name="a.jpg", faces=faces, rights=rights(**changes), **size
    )


def test_faces_without_an_answer_make_a_photo_wait() -> None:
    for changes in ({}, {"identifiable_people": False}):
        (fault,) = check_reference(reference(2, **changes), purpose="synthetic-release", today=TODAY)
        assert fault.startswith(
            "waits: it shows what may be 2 faces and no consent is on record; dana adds where consent"
        )


@pytest.mark.parametrize(
    "answer",
    [{"consent": "folder 7"}, {"identifiable_people": True, "consent": "folder 7"}, {"people_checked_by": "dora"}],
)
def test_consent_or_a_person_who_looked_is_an_answer(answer: dict[str, object]) -> None:
    assert check_reference(reference(1, **answer), purpose="synthetic-release", today=TODAY) == []


def test_where_nothing_looks_like_a_face_nothing_is_asked() -> None:
    assert face_question(reference(0)) == ""


def test_people_without_consent_are_a_fault_and_no_second_question() -> None:
    (fault,) = check_reference(reference(1, identifiable_people=True), purpose="synthetic-release", today=TODAY)
    assert fault.startswith("shows identifiable people without consent")
