"""A store in an S3 bucket, through the ``minio`` client; works with any server that speaks S3.

Endpoint and credentials come from the environment, or from a mapping with the same names that a caller made from an Airflow connection, and
go nowhere else: ``SEEDBANK_S3_ENDPOINT`` (``host[:port]``), ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, and if wanted
``AWS_SESSION_TOKEN``, ``AWS_REGION`` and ``SEEDBANK_S3_SECURE`` (``false`` for plain HTTP).

New-only writes are conditional PUTs (``If-None-Match: *``, RFC 9110 13.1.2), which the client cannot make by itself: they go through a
presigned URL. Servers that ignore the condition overwrite in silence, so it is probed before the first one, in the bucket itself: some
servers honour it in plain buckets and not in versioned ones.
"""

from __future__ import annotations

import io
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple, Self

import urllib3
from minio import Minio
from minio.commonconfig import GOVERNANCE
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error
from minio.retention import Retention

from seedbank.errors import StoreError, UsageError
from seedbank.storage.base import Capabilities, check_key, probe_key

CONNECT_S, READ_S = 5.0, 60.0
RETRIES = urllib3.Retry(total=4, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504))
"""For requests that may be repeated; a conditional write may not."""
ATTEMPTS = 4
"""How often a conditional write is tried when the connection drops or another writer is in the way."""
PRESIGNED = timedelta(minutes=15)
"""How long a presigned URL is good for."""

ADVICE = {
    "NoSuchBucket": "create the bucket first, or check its name",
    "AccessDenied": "check that the credentials may use this bucket",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "set this machine's clock",
    "SlowDown": "the server is throttling; try again later",
}
"""What to do about the errors that people meet."""


def connect(env: Mapping[str, str] | None = None) -> tuple[Minio, urllib3.PoolManager]:
    """A client for the endpoint and credentials in the environment (or ``env``), and the connections it uses.

    Raises:
        UsageError: a variable is missing.
    """
    env = os.environ if env is None else env
    missing = [
        name for name in ("SEEDBANK_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not env.get(name)
    ]
    if missing:
        raise UsageError(
            f"expected the environment to say how to reach S3, missing: {', '.join(missing)}; set them and try again"
        )
    endpoint = env["SEEDBANK_S3_ENDPOINT"]
    if "/" in endpoint:
        raise UsageError(
            "expected SEEDBANK_S3_ENDPOINT as host[:port] without a scheme; SEEDBANK_S3_SECURE=false asks for plain HTTP"
        )
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S), retries=RETRIES, maxsize=8)
    client = Minio(
        endpoint,
        access_key=env["AWS_ACCESS_KEY_ID"],
        secret_key=env["AWS_SECRET_ACCESS_KEY"],
        session_token=env.get("AWS_SESSION_TOKEN"),
        # With a region given, minio does not ask the server for the bucket's location first, which a policy may deny.
        region=env.get("AWS_REGION", "us-east-1"),
        secure=env.get("SEEDBANK_S3_SECURE", "true").lower() not in {"false", "0", "no"},
        http_client=pool,
    )
    return client, pool


class Listed(NamedTuple):
    """An object as a listing shows it; its ``mark`` changes whenever its bytes do."""

    key: str
    size: int
    mark: str


@dataclass(frozen=True)
class Bucket:
    """One bucket and the client that reaches it. Keys are whatever the bucket holds; errors are ours."""

    name: str
    client: Minio
    http: urllib3.PoolManager

    @classmethod
    def from_url(cls, url: str, env: Mapping[str, str] | None = None) -> tuple[Self, str]:
        """The bucket and the key prefix (empty or ending in a slash) behind ``s3://bucket[/prefix]``, reached as :func:`connect` says."""
        parts = urllib.parse.urlparse(url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise UsageError(
                "expected s3://bucket or s3://bucket/prefix, without credentials in it; those come from the environment"
            )
        prefix = parts.path.strip("/")
        return cls(parts.netloc, *connect(env)), f"{prefix}/" if prefix else ""

    def get(self, key: str, *, limit: int = 0) -> bytes:
        """The bytes under ``key``, at most ``limit`` of them if it is not 0; raises :class:`KeyError` when there are none."""
        with self.errors(f"read {key}", missing=key):
            for _ in range(ATTEMPTS - 1):
                with suppress(
                    urllib3.exceptions.ProtocolError
                ):  # cut off in the middle: the transport repeats requests, not answers
                    return self._read(key, limit)
            return self._read(key, limit)

    def _read(self, key: str, limit: int) -> bytes:
        # minio takes a length of 0 for the whole object.
        response = self.client.get_object(self.name, key, length=limit)
        try:
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """All objects whose key starts with ``prefix``, ascending."""
        with self.errors(f"list {prefix or 'the bucket'}"):
            for item in self.client.list_objects(self.name, prefix=prefix, recursive=True):
                yield Listed(str(item.object_name), int(item.size or 0), str(item.etag or ""))

    @contextmanager
    def errors(self, doing: str, *, missing: str | None = None) -> Iterator[None]:
        """Turns the client's errors into ours. Never quotes a request: presigned URLs hold a signature."""
        try:
            yield
        except S3Error as error:
            # By code, not by status: NoSuchBucket is a 404 too, and no missing object.
            if missing is not None and error.code == "NoSuchKey":
                raise KeyError(missing) from None
            advice = ADVICE.get(error.code or "", "look at the server's log")
            raise StoreError(f"cannot {doing} in s3://{self.name}: {error.code}; {advice}") from error
        except InvalidResponseError as error:
            raise StoreError(
                f"cannot {doing} in s3://{self.name}: the answer is not S3's; check SEEDBANK_S3_ENDPOINT"
            ) from error
        # ValueError is what minio raises for a bucket's name or a key that it refuses itself.
        except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # The cause's name only: the text of a MaxRetryError quotes the URL.
            kind = type(getattr(error, "reason", None) or error).__name__
            raise StoreError(
                f"cannot {doing} in s3://{self.name}: {kind}; check SEEDBANK_S3_ENDPOINT, SEEDBANK_S3_SECURE and the network"
            ) from error


@dataclass(frozen=True)
class S3Store:
    """Objects of one bucket below a prefix."""

    bucket: Bucket
    prefix: str

    @classmethod
    def from_url(cls, url: str, env: Mapping[str, str] | None = None) -> Self:
        """Open ``s3://bucket[/prefix]``; the bucket must be there. Nothing is sent yet.

        Raises:
            UsageError: not such a URL, or the environment does not say how to reach S3.
        """
        return cls(*Bucket.from_url(url, env))

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self.bucket.name}/{self.prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        """The bytes under ``key``; raises :class:`KeyError` when there are none."""
        try:
            return self.bucket.get(self._path(key))
        except KeyError:
            raise KeyError(key) from None

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, replacing what is there."""
        with self.bucket.errors(f"write {key}"):
            self.bucket.client.put_object(self.bucket.name, self._path(key), io.BytesIO(data), len(data))

    def put_new(self, key: str, data: bytes) -> bool:
        """Store ``data`` unless something is there; True if this call stored it.

        Raises:
            StoreError: the store does not keep to the condition, so that nothing in it can be written only once.
        """
        path = self._path(key)
        if not self._writes_conditionally:
            raise StoreError(
                f"{self.url} overwrites what a new-only write must keep; use a bucket without versioning, or a server with "
                "conditional writes (If-None-Match)"
            )
        return self._put_new(path, data)

    def exists(self, key: str) -> bool:
        """Whether something is stored under ``key``."""
        path = self._path(key)
        try:
            with self.bucket.errors(f"look for {key}", missing=key):
                self.bucket.client.stat_object(self.bucket.name, path)
        except KeyError:
            return False
        return True

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with ``prefix``, ascending."""
        for item in self.bucket.list(self.prefix + prefix):
            yield item.key.removeprefix(self.prefix)

    def delete(self, key: str) -> None:
        """Remove ``key``; no error when nothing is there."""
        with self.bucket.errors(f"remove {key}"):
            self.bucket.client.remove_object(self.bucket.name, self._path(key))

    def capabilities(self) -> Capabilities:
        """Probe the store; what the probes leave behind is removed, as far as the store lets us."""
        return Capabilities(
            conditional_write=self._writes_conditionally,
            versioning=self._keeps_versions(),
            object_lock=self._locks_objects(),
        )

    @cached_property
    def _writes_conditionally(self) -> bool:
        path = self._path(probe_key("conditional"))
        # Other bytes the second time: `_put_new` takes equal ones for its own write whose answer was lost.
        first, second = self._put_new(path, b"1"), self._put_new(path, b"2")
        self._remove_all(path)
        return first and not second

    def _keeps_versions(self) -> bool:
        key = probe_key("versions")
        self.put(key, b"1")
        self.put(key, b"2")
        # Seen, not asked: what a server says of its versioning need not be what it does.
        count = len(self._versions(self._path(key)))
        self._remove_all(self._path(key))
        return count > 1

    def _locks_objects(self) -> bool:
        """Lock an object and try to delete it: servers have been seen to accept a lock and delete all the same."""
        client, name, path = self.bucket.client, self.bucket.name, self._path(probe_key("lock"))
        with self.bucket.errors("probe for object lock"):
            version = client.put_object(name, path, io.BytesIO(b"1"), 1).version_id
            try:
                until = datetime.now(UTC) + timedelta(days=1)
                # GOVERNANCE, which `_remove_all` may bypass; nobody could remove a COMPLIANCE probe before its time.
                client.set_object_retention(name, path, Retention(GOVERNANCE, until), version_id=version)
                # By version: without one S3 only lays a delete marker on top, which no lock forbids.
                client.remove_object(name, path, version_id=version)
                locked = False
            except S3Error as error:
                locked = error.code == "AccessDenied" and version in self._versions(path)
        self._remove_all(path)
        return locked

    def _put_new(self, path: str, data: bytes) -> bool:
        for _ in range(ATTEMPTS):
            status = self._put_if_none(path, data)
            # 412 Precondition Failed (RFC 9110, 15.5.13): somebody was first.
            if status in {200, 412}:
                return status == 200
            if status is None and self._stored(path) == data:
                return True  # the answer was lost on its way, the write was not
            # 409 ConditionalRequestConflict: another write of this key was under way, and S3 asks to try again.
            if status not in {None, 409, 500, 502, 503, 504}:
                raise StoreError(
                    f"cannot write {path} in s3://{self.bucket.name}: HTTP {status}; check credentials, bucket and clock"
                )
        raise StoreError(
            f"cannot write {path} in s3://{self.bucket.name} after {ATTEMPTS} tries; check the network, then run it again"
        )

    def _put_if_none(self, path: str, data: bytes) -> int | None:
        """HTTP status of one conditional PUT; None when there was no answer. Never repeated by the transport."""
        with self.bucket.errors(f"sign a write of {path}"):
            url = self.bucket.client.presigned_put_object(self.bucket.name, path, expires=PRESIGNED)
        try:
            # A presigned URL signs the host alone, so this header may be added. No repeats by urllib3: the second would meet the
            # first one's bytes and bring back a 412 that looks like another writer's.
            answer = self.bucket.http.request(
                "PUT", url, body=data, headers={"If-None-Match": "*"}, retries=False, redirect=False
            )
        except (urllib3.exceptions.HTTPError, OSError):
            return None
        return int(answer.status)

    def _stored(self, path: str) -> bytes | None:
        try:
            return self.bucket.get(path)
        except KeyError:
            return None

    def _versions(self, path: str) -> list[str]:
        with self.bucket.errors(f"list versions of {path}"):
            found = self.bucket.client.list_objects(self.bucket.name, prefix=path, include_version=True)
            # A prefix finds longer keys as well.
            return [item.version_id for item in found if item.object_name == path]

    def _remove_all(self, path: str) -> None:
        with self.bucket.errors(f"remove {path}"):
            doomed = [DeleteObject(path, version) for version in self._versions(path)]
            # minio removes as its errors are read: without list() nothing is sent.
            list(self.bucket.client.remove_objects(self.bucket.name, doomed, bypass_governance_mode=True))

    def _path(self, key: str) -> str:
        return self.prefix + check_key(key)
