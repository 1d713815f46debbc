"""Signing: DSSE envelopes around in-toto statements, with Ed25519 keys that lie as PEM files in one folder.

Two keys, for two duties: ``review`` signs what a reviewer answered, ``release`` signs what was published. Each is ``<name>.key`` (PKCS#8,
readable by its owner only) and ``<name>.pub``. An envelope is kept as canonical JSON (RFC 8785), so that no byte of it can change unseen:
white space, base64 padding bits and unknown fields would all be outside the signature.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from seedbank.errors import OutsideError, UsageError, VerificationError
from seedbank.records import Record, canonical_json

KeyName = Literal["review", "release"]
PAYLOAD_TYPE = "application/vnd.in-toto+json"


class Subject(Record):
    """A thing a statement is about, by content (in-toto ResourceDescriptor)."""

    name: str
    digests: dict[str, str] = Field(alias="digest")
    """Algorithm to hex; ours always have ``sha256``."""


class Statement(Record):
    """An in-toto Statement v1: ``predicate`` is said about each of ``subject``."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default="https://in-toto.io/Statement/v1", alias="_type")
    subject: tuple[Subject, ...]
    predicate_type: str = Field(alias="predicateType")
    predicate: dict[str, Any]

    def to_bytes(self) -> bytes:
        """The canonical JSON of this statement, under in-toto's field names."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def about(cls, digests: dict[str, str], predicate_type: str, predicate: dict[str, Any]) -> Self:
        """A statement about objects given as name to SHA-256."""
        subject = [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(digests.items())]
        fields = {"subject": subject, "predicateType": predicate_type, "predicate": predicate}
        return cls.model_validate(fields)

    def digests(self) -> dict[str, str]:
        """Name to SHA-256 of every subject.

        Raises:
            VerificationError: a name comes twice or has no SHA-256.
        """
        digests = {item.name: item.digests.get("sha256", "") for item in self.subject}
        # Of a name that comes twice the mapping keeps the last digest and forgets the other.
        if len(digests) != len(self.subject) or not all(digests.values()):
            raise VerificationError("expected each subject of the statement once and with its sha256; do not use it")
        return digests


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key, as the PEM text of its file."""

    pem: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ``<name>.pub``.

        Raises:
            UsageError: no such file, or no Ed25519 public key in it.
        """
        try:
            key = cls(path.read_text(encoding="ascii"))
            key.loaded()
        except OSError as error:
            raise UsageError(
                f"expected a public key at {path}: {error.strerror}; `seedbank keys` says where yours are"
            ) from error
        except (ValueError, VerificationError) as error:
            raise UsageError(f"expected an Ed25519 public key in PEM at {path}, got something else") from error
        return key

    def loaded(self) -> Any:
        """The key as securesystemslib wants it; raises :class:`VerificationError` if it is none."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
        from securesystemslib.signer import SSlibKey

        try:
            key = load_pem_public_key(self.pem.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise VerificationError("expected an Ed25519 public key in PEM, got something else") from error
        if not isinstance(key, Ed25519PublicKey):
            raise VerificationError(f"expected an Ed25519 public key, got {type(key).__name__}")
        return SSlibKey.from_crypto(key)

    @property
    def id(self) -> str:
        """The key's identifier: a digest of the key itself."""
        return str(self.loaded().keyid)


@dataclass(frozen=True)
class Signer:
    """A private key that signs statements."""

    path: Path

    def seal(self, statement: Statement) -> bytes:
        """``statement`` in a signed envelope. The same statement and key always give the same bytes (Ed25519 is deterministic)."""
        from securesystemslib.dsse import Envelope
        from securesystemslib.signer import CryptoSigner

        # What is signed is DSSE's PAE: "DSSEv1" SP len(type) SP type SP len(payload) SP payload. So the type is covered too.
        envelope = Envelope(statement.to_bytes(), PAYLOAD_TYPE, {})
        envelope.sign(CryptoSigner(self._private()))
        return canonical_json(envelope.to_dict())

    @property
    def public(self) -> PublicKey:
        """The public half."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = self._private().public_key()
        return PublicKey(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii"))

    def _private(self) -> Any:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(self.path.read_bytes(), None)
        # TypeError is how cryptography says that a key needs a password.
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise OutsideError(
                f"cannot read the signing key {self.path}: {error}; restore it from its backup"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(f"expected an Ed25519 private key at {self.path}, got {type(key).__name__}")
        return key


def open_envelope(data: bytes, key: PublicKey) -> Statement:
    """The statement in an envelope that ``key``, and nobody else, signed.

    Raises:
        VerificationError: not a canonical envelope, not signed by ``key``, or the payload is no in-toto statement.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import FormatError
    from securesystemslib.exceptions import VerificationError as BadSignature

    try:
        envelope = Envelope.from_dict(json.loads(data))
        # What the parser passed over does not come back when it is written again.
        canonical = canonical_json(envelope.to_dict()) == data
    # RecursionError: JSON from outside may be nested as deep as it likes.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError) as error:
        raise VerificationError(f"expected a DSSE envelope, got {len(data)} other bytes; it was changed") from error
    # Exactly one: `verify` passes over signatures of keys it was not given, so their bytes could change unseen.
    if not canonical or envelope.payload_type != PAYLOAD_TYPE or len(envelope.signatures) != 1:
        raise VerificationError(
            "expected a canonical DSSE envelope with one signature; bytes outside the payload were changed"
        )
    try:
        envelope.verify([key.loaded()], threshold=1)
    except BadSignature as error:
        signed_by = next(iter(envelope.signatures))
        raise VerificationError(
            f"expected a signature of key {key.id[:12]}, got one of {signed_by[:12]} that does not hold; "
            "the content was changed or another key signed it"
        ) from error
    statement = Statement.from_bytes(envelope.payload)
    # Signed are the payload's bytes, used is what was parsed of them: both must say the same.
    if statement.to_bytes() != envelope.payload:
        raise VerificationError("expected a canonical in-toto statement in the envelope, got another form of it")
    return statement


def ensure_key(folder: Path, name: KeyName) -> Signer:
    """The signing key ``name`` of ``folder``, made on first use. Safe for any number of processes at once.

    Raises:
        UsageError: the public key is there and the private one is not: a new one would not be the one that others trust.
        OutsideError: the folder cannot be written.
    """
    signer, public = Signer(folder / f"{name}.key"), folder / f"{name}.pub"
    if not signer.path.exists():
        if public.exists():
            raise UsageError(
                f"expected the private key {signer.path} beside {public.name}, it is gone; restore it from its backup"
            )
        _write_new(signer.path, _new_private_key())
    # Derived from the private key on disk, which may be another process's: whoever lost the race publishes the winner's.
    if not public.exists():
        _write_new(public, signer.public.pem.encode(), mode=0o644)
    return signer


def ensure_keys(folder: Path) -> dict[KeyName, Signer]:
    """Both signing keys of ``folder``; those that are missing are made."""
    return {"review": ensure_key(folder, "review"), "release": ensure_key(folder, "release")}


def _new_private_key() -> bytes:
    from securesystemslib.signer import CryptoSigner

    return bytes(CryptoSigner.generate_ed25519().private_bytes)


def _write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a whole file, unless another process was first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tmp-") as file:  # made with mode 0600
            file.write(data)
            file.flush()
            Path(file.name).chmod(mode)
            # link(2) fails where the name exists; rename(2) would replace a key that others already trust.
            os.link(file.name, path)
    except FileExistsError:
        return
    except OSError as error:
        raise OutsideError(f"cannot write {path}: {error.strerror}; check the folder of the signing keys") from error
