"""The S3 store against Ceph's real gateway, and intake from a bucket of it."""

import io
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from minio.versioningconfig import ENABLED, VersioningConfig

from seedbank.errors import StoreError, UsageError
from seedbank.ledger import Ledger
from seedbank.records import sha256
from seedbank.references.intake import intake, load_pool
from seedbank.storage import Capabilities, open_store
from seedbank.storage.s3 import S3Store, connect
from support.photos import jpeg, make_bank, photo
from support.radosgw import SECRET_KEY, Gateway

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SIDECAR = b"licence: MIT\nsource: us\ncleared_by: dana\ncleared_on: 2026-01-05\npurpose: synthetic-release\n"


@pytest.fixture
def bucket(s3: Gateway, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket; the environment says how to reach it."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return make_bucket()


def make_bucket(*, versioned: bool = False, locked: bool = False) -> str:
    client, _ = connect()
    name = f"b-{uuid.uuid4().hex[:12]}"
    client.make_bucket(name, object_lock=locked)
    if versioned:
        client.set_bucket_versioning(name, VersioningConfig(ENABLED))
    return name


def test_what_was_put_can_be_read_until_it_is_deleted(bucket: str) -> None:
    store = open_store(f"s3://{bucket}/some/prefix")
    assert store.url == f"s3://{bucket}/some/prefix"
    store.put("a/b", b"1")
    store.put("a/b", b"2")
    assert (store.get("a/b"), store.exists("a/b"), list(store.keys())) == (b"2", True, ["a/b"])
    assert list(open_store(f"s3://{bucket}").keys()) == ["some/prefix/a/b"]
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    with pytest.raises(KeyError, match="a/b"):
        store.get("a/b")


def test_a_new_only_write_never_replaces_and_one_of_many_racers_wins(bucket: str) -> None:
    store = open_store(f"s3://{bucket}")
    assert store.put_new("a", b"first")
    assert not store.put_new("a", b"second")
    assert store.get("a") == b"first"
    start, won = threading.Barrier(6), []

    def race(name: int) -> None:
        start.wait()
        if store.put_new("claim", str(name).encode()):
            won.append(name)

    racers = [threading.Thread(target=race, args=(name,)) for name in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [str(name).encode() for name in won] == [store.get("claim")]


def test_the_ledger_keeps_its_chain_in_a_bucket(bucket: str) -> None:
    ledger = Ledger(open_store(f"s3://{bucket}"))
    for number in range(3):
        ledger.append("trial.started", actor="test", concept="hook", number=number)
    assert ledger.verify() == 3


def test_listing_goes_past_one_page(bucket: str) -> None:
    client, _ = connect()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: client.put_object(bucket, f"many/{number:04}", io.BytesIO(b""), 0), range(1005)))
    store = open_store(f"s3://{bucket}")
    assert list(store.keys("many/")) == [f"many/{number:04}" for number in range(1005)]


def test_capabilities_are_found_out_by_trying(bucket: str) -> None:
    assert open_store(f"s3://{bucket}").capabilities() == Capabilities(True, False, False)
    locked = make_bucket(locked=True)
    store = open_store(f"s3://{locked}")
    assert store.capabilities() == Capabilities(conditional_write=False, versioning=True, object_lock=True)
    assert list(store.keys()) == []


def test_a_bucket_that_overwrites_is_refused_for_new_only_writes(bucket: str) -> None:
    store = open_store(f"s3://{make_bucket(versioned=True)}")
    with pytest.raises(StoreError, match="overwrites what a new-only write must keep"):
        store.put_new("a", b"1")
    assert not store.exists("a")


def test_what_is_wrong_outside_is_told_with_what_to_do(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="NoSuchBucket; create the bucket first"):
        open_store("s3://no-such-bucket").get("a")
    with pytest.raises(StoreError, match="HTTP 404"):
        open_store("s3://no-such-bucket").put_new("a", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="SignatureDoesNotMatch; check AWS_SECRET_ACCESS_KEY") as wrong:
        open_store(f"s3://{bucket}").get("a")
    assert "wrong" not in str(wrong.value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(StoreError, match="InvalidAccessKeyId; check AWS_ACCESS_KEY_ID"):
        open_store(f"s3://{bucket}").put("a", b"1")


def test_photos_are_taken_in_from_a_bucket(bucket: str, tmp_path: Path) -> None:
    client, _ = connect()
    data = jpeg(photo())

    def upload(key: str, body: bytes) -> None:
        client.put_object(bucket, key, io.BytesIO(body), len(body))

    upload("in/wingnut/one.jpg", data)
    upload("in/wingnut/one.jpg.yaml", SIDECAR)
    upload("in/wingnut/two.jpg", jpeg(photo(index=1)))
    upload("in/sprocket/three.jpg", data)
    upload("elsewhere/wingnut/four.jpg", data)
    bank = make_bank(tmp_path, wingnut={})
    report = intake(bank, f"s3://{bucket}/in", requested_by="mia")
    assert [item.name for item in report.accepted] == ["one.jpg"]
    reasons = {item.name: item.reason for item in report.quarantined}
    assert reasons["two.jpg"].startswith("no rights on record")
    assert reasons["three.jpg"].startswith("no concept 'sprocket'")
    assert load_pool(bank, "wingnut")[0].photo == sha256(data)
    again = intake(bank, f"s3://{bucket}/in", requested_by="mia")
    assert (len(again.accepted), len(again.known), len(again.quarantined)) == (0, 1, 2)


def test_the_address_says_nothing_secret(bucket: str) -> None:
    store = S3Store.from_url(f"s3://{bucket}/x")
    assert SECRET_KEY not in repr(store) + store.url


@pytest.mark.parametrize("url", ["s3://", "s3:///key", "s3://key:secret@bucket", "s3://bucket?x=1"])
def test_other_addresses_are_used_wrongly(bucket: str, url: str) -> None:
    with pytest.raises(UsageError, match="expected s3://bucket"):
        open_store(url)
