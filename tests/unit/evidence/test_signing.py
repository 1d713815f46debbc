import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from seedbank.errors import OutsideError, UsageError, VerificationError
from seedbank.evidence.signing import PublicKey, Signer, Statement, ensure_key, ensure_keys, open_envelope
from seedbank.records import canonical_json

STATEMENT = Statement.about({"b.png": "1" * 64, "a.png": "0" * 64}, "urn:test:v1", {"why": "because", "count": 2})


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return ensure_key(tmp_path_factory.mktemp("keys"), "release")


@pytest.fixture(scope="module")
def envelope(signer: Signer) -> bytes:
    return signer.seal(STATEMENT)


def test_what_was_sealed_comes_out(signer: Signer, envelope: bytes) -> None:
    assert open_envelope(envelope, signer.public) == STATEMENT
    assert STATEMENT.digests() == {"a.png": "0" * 64, "b.png": "1" * 64}
    assert signer.seal(STATEMENT) == envelope


def test_it_is_a_statement_that_other_in_toto_tools_read(envelope: bytes) -> None:
    from base64 import b64decode

    statement = json.loads(b64decode(json.loads(envelope)["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "urn:test:v1"
    assert statement["subject"][0] == {"name": "a.png", "digest": {"sha256": "0" * 64}}


@given(data=st.data())
def test_no_byte_of_an_envelope_can_change(signer: Signer, envelope: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(envelope) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != envelope[place]))
    changed = envelope[:place] + bytes([other]) + envelope[place + 1 :]
    with pytest.raises(VerificationError):
        open_envelope(changed, signer.public)


@given(
    st.binary(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode())
)
def test_anything_else_is_no_envelope(signer: Signer, junk: bytes) -> None:
    with pytest.raises(VerificationError, match="expected a DSSE envelope"):
        open_envelope(junk, signer.public)


def test_white_space_counts(signer: Signer, envelope: bytes) -> None:
    with pytest.raises(VerificationError, match="bytes outside the payload were changed"):
        open_envelope(envelope + b"\n", signer.public)


def test_a_second_signature_is_refused(signer: Signer, envelope: bytes, tmp_path: Path) -> None:
    both = json.loads(envelope)
    both["signatures"] += json.loads(ensure_key(tmp_path, "review").seal(STATEMENT))["signatures"]
    with pytest.raises(VerificationError, match="with one signature"):
        open_envelope(canonical_json(both), signer.public)


def test_another_key_is_refused(envelope: bytes, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="another key signed it"):
        open_envelope(envelope, ensure_key(tmp_path, "release").public)


def test_a_subject_that_comes_twice_is_refused() -> None:
    twice = Statement(subject=(*STATEMENT.subject, STATEMENT.subject[0]), predicateType="urn:test:v1", predicate={})
    with pytest.raises(VerificationError, match="each subject of the statement once"):
        twice.digests()


class TestKeys:
    def test_they_are_made_once_and_only_their_owner_reads_them(self, tmp_path: Path) -> None:
        first, again = ensure_keys(tmp_path / "keys"), ensure_keys(tmp_path / "keys")
        assert {name: signer.public.id for name, signer in first.items()} == {
            name: signer.public.id for name, signer in again.items()
        }
        assert first["review"].public.id != first["release"].public.id
        assert stat.S_IMODE((tmp_path / "keys" / "review.key").stat().st_mode) == 0o600
        assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
            "release.key",
            "release.pub",
            "review.key",
            "review.pub",
        ]
        assert PublicKey.read(tmp_path / "keys" / "release.pub") == first["release"].public

    def test_many_at_once_make_one_key(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: ensure_key(tmp_path, "review").public.id, range(16)))
        assert set(made) == {PublicKey.read(tmp_path / "review.pub").id}

    def test_a_lost_private_key_is_not_replaced_silently(self, tmp_path: Path) -> None:
        ensure_key(tmp_path, "release").path.unlink()
        with pytest.raises(UsageError, match="restore it from its backup"):
            ensure_key(tmp_path, "release")

    def test_a_damaged_private_key(self, tmp_path: Path) -> None:
        ensure_key(tmp_path, "release").path.write_text("-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\n")
        with pytest.raises(OutsideError, match="cannot read the signing key"):
            ensure_key(tmp_path, "release").seal(STATEMENT)

    @pytest.mark.parametrize("text", ["", "not a key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
    def test_what_is_no_public_key(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "x.pub").write_text(text)
        with pytest.raises(UsageError, match="expected an Ed25519 public key in PEM"):
            PublicKey.read(tmp_path / "x.pub")

    def test_a_key_of_another_kind(self, tmp_path: Path) -> None:
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / "x.pub").write_bytes(pem)
        with pytest.raises(UsageError, match="expected an Ed25519 public key"):
            PublicKey.read(tmp_path / "x.pub")

    def test_no_public_key_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="seedbank keys"):
            PublicKey.read(tmp_path / "none.pub")
