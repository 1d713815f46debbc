import contextlib
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbank.references.reference import Rights
from seedbank.references.rights import NoRights, check_rights, parse_sidecar

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
        (None, "there is no sidecar"),
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
def test_what_is_no_complete_sidecar_is_no_rights(data: bytes | None, reason: str) -> None:
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
