import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbank.errors import VerificationError
from seedbank.records import Record, canonical_json, sha256


class Thing(Record):
    name: str
    number: float = 0.0
    parts: tuple[str, ...] = ()


things = st.builds(
    Thing, name=st.text(), number=st.floats(allow_nan=False, allow_infinity=False), parts=st.tuples(st.text())
)


@given(things)
def test_a_record_comes_back_equal_with_equal_bytes(thing: Thing) -> None:
    back = Thing.from_bytes(thing.to_bytes())
    assert back == thing
    assert back.to_bytes() == thing.to_bytes()
    assert back.digest == thing.digest == sha256(thing.to_bytes())


@given(things, things)
def test_different_records_have_different_digests(one: Thing, other: Thing) -> None:
    assert (one == other) == (one.digest == other.digest)


@given(st.binary(max_size=80))
def test_anything_else_is_refused(junk: bytes) -> None:
    with pytest.raises(VerificationError, match="expected a Thing record"):
        Thing.from_bytes(junk)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(VerificationError, match="Extra inputs"):
        Thing.from_bytes(b'{"name":"a","secret":1}')


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Thing(name="a").name = "b"  # type: ignore[misc]


def test_canonical_json_sorts_and_has_no_spaces() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "ü"}) == '{"a":"ü","b":[1,2.5]}'.encode()


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53 + 1, "\ud800"])
def test_canonical_json_refuses_what_does_not_survive(value: float | str) -> None:
    with pytest.raises(VerificationError, match="has no canonical JSON"):
        canonical_json({"value": value})
