"""The S3 store against Ceph's real gateway, and intake from a bucket of it."""

import io
import json
import logging
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from minio.versioningconfig import ENABLED, VersioningConfig

from seedbank.bank import Bank
from seedbank.errors import StoreError, UsageError
from seedbank.evidence.ledger import Ledger
from seedbank.records import sha256
from seedbank.references.intake.run import intake
from seedbank.references.records import load_photos
from seedbank.storage import Capabilities, open_store
from seedbank.storage.s3 import RETRIES, Bucket, S3Store, connect
from support.photos import jpeg, make_bank, photo
from support.proxy import Mischief, Proxy, proxy
from support.radosgw import ACCESS_KEY, SECRET_KEY, Gateway

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


def test_a_clock_that_is_wrong_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    late = datetime.now(UTC) - timedelta(hours=2)
    monkeypatch.setattr("minio.time.utcnow", lambda: late)
    with pytest.raises(StoreError, match="RequestTimeTooSkewed; set this machine's clock"):
        open_store(f"s3://{bucket}").get("a")


def test_older_versions_are_neither_listed_nor_read(bucket: str) -> None:
    store = open_store(f"s3://{make_bucket(versioned=True)}")
    for data in (b"1", b"2"):
        store.put("a", data)
    store.put("b", b"3")
    store.delete("b")
    assert (list(store.keys()), store.get("a"), store.exists("b")) == (["a"], b"2", False)


@pytest.fixture
def between(s3: Gateway, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that stands between us and the server."""
    with proxy(s3.endpoint) as standing:
        monkeypatch.setenv("SEEDBANK_S3_ENDPOINT", standing.endpoint)
        monkeypatch.setattr("seedbank.storage.s3.RETRIES", RETRIES.new(backoff_factor=0.01))
        yield standing


class TestTroubleOnTheWay:
    @pytest.mark.parametrize("trouble", ["throttle", "cut before", "cut in the middle"])
    def test_a_read_gets_through(self, between: Proxy, bucket: str, trouble: Mischief) -> None:
        store = open_store(f"s3://{bucket}")
        store.put("a", b"x" * 200_000)
        between.orders[:] = [trouble] * 2
        assert store.get("a") == b"x" * 200_000
        assert between.orders == []

    @pytest.mark.parametrize("trouble", ["throttle", "cut before", "lose the answer"])
    def test_a_write_gets_through(self, between: Proxy, bucket: str, trouble: Mischief) -> None:
        store = open_store(f"s3://{bucket}")
        between.orders[:] = [trouble] * 2
        store.put("a", b"1")
        assert between.orders == []
        assert store.get("a") == b"1"

    @pytest.mark.parametrize("trouble", ["throttle", "cut before", "lose the answer"])
    def test_a_new_only_write_gets_through_and_is_ours(self, between: Proxy, bucket: str, trouble: Mischief) -> None:
        store = open_store(f"s3://{bucket}")
        assert store.put_new("first", b"0")  # the probe is behind us
        between.orders[:], between.only = [trouble] * 2, "PUT"
        assert store.put_new("a", b"1")
        assert not store.put_new("a", b"2")
        assert between.orders == []
        assert store.get("a") == b"1"

    def test_a_listing_goes_on_where_it_was_cut(self, between: Proxy, bucket: str) -> None:
        store = open_store(f"s3://{bucket}")
        for number in range(3):
            store.put(f"a/{number}", b"")
        between.orders[:] = ["throttle", "cut before"]
        assert list(store.keys("a/")) == ["a/0", "a/1", "a/2"]

    def test_trouble_that_does_not_end_is_told_with_what_to_do(self, between: Proxy, bucket: str) -> None:
        store = open_store(f"s3://{bucket}")
        between.orders[:] = ["throttle"] * 50
        with pytest.raises(StoreError, match=r"cannot read a in s3://.*"):
            store.get("a")
        between.orders[:] = ["cut before"] * 50
        with pytest.raises(
            StoreError, match=r"cannot write a in s3://.*; check SEEDBANK_S3_ENDPOINT.* and the network"
        ):
            store.put("a", b"1")

    def test_intake_under_throttling_takes_every_photo_once(self, between: Proxy, bucket: str, tmp_path: Path) -> None:
        for number in range(3):
            upload(bucket, f"wingnut/{number}.jpg", jpeg(photo(index=number)))
            upload(bucket, f"wingnut/{number}.jpg.yaml", SIDECAR)
        between.orders[:], between.every = ["throttle", "cut in the middle", "cut before", "throttle"], 2
        bank = make_bank(tmp_path, wingnut={})
        assert intake(bank, f"s3://{bucket}", requested_by="mia").counts["accepted"] == 3
        assert between.orders == []
        assert len(load_photos(bank, "wingnut")) == 3


def upload(bucket: str, key: str, body: bytes) -> None:
    client, _ = connect()
    client.put_object(bucket, key, io.BytesIO(body), len(body))


def test_a_second_scan_of_a_bucket_reads_no_object(
    s3: Gateway, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        upload(bucket, f"wingnut/{number}.jpg", jpeg(photo(index=number)))
    table = "file;licence;source;cleared_by;cleared_on;purpose\n" + "".join(
        f"{number}.jpg;MIT;us;dana;2026-01-05;synthetic-release\n" for number in range(2)
    )
    upload(bucket, "wingnut/rights.csv", table.encode("utf-8-sig"))
    bank = make_bank(tmp_path, wingnut={})
    with proxy(s3.endpoint) as standing:
        monkeypatch.setenv("SEEDBANK_S3_ENDPOINT", standing.endpoint)
        assert intake(bank, f"s3://{bucket}", requested_by="mia").counts["accepted"] == 2
        standing.seen.clear()
        assert intake(bank, f"s3://{bucket}", requested_by="mia").counts["known"] == 2
        assert [path for _, path in standing.seen if path.endswith(".jpg")] == []
        upload(bucket, "wingnut/0.jpg", jpeg(photo(index=7)))
        standing.seen.clear()
        assert intake(bank, f"s3://{bucket}", requested_by="mia").counts["accepted"] == 1
        assert [path for _, path in standing.seen if path.endswith(".jpg")] == [f"/{bucket}/wingnut/0.jpg"]


def test_a_bucket_and_a_store_in_a_bucket_together(bucket: str, tmp_path: Path) -> None:
    upload(bucket, "in/wingnut/one.jpg", jpeg(photo()))
    upload(bucket, "in/wingnut/one.jpg.yaml", SIDECAR)
    upload(bucket, "in/wingnut/bad.jpg", b"hello")
    made = make_bank(tmp_path, wingnut={})
    store = open_store(f"s3://{make_bucket()}/bank")
    bank = Bank(made.settings, store, Ledger(store))
    for known in (0, 1):
        report = intake(bank, f"s3://{bucket}/in", requested_by="mia")
        assert (report.counts["accepted"], report.counts["known"], report.counts["quarantined"]) == (
            1 - known,
            known,
            1,
        )
    events = [entry.event for entry in bank.ledger.entries()]
    assert events == ["request.intake", "intake.quarantined", "intake.accepted"]
    assert bank.ledger.verify() == 3


def test_no_secret_is_in_logs_errors_or_names(
    bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    upload(bucket, "wingnut/one.jpg", jpeg(photo()))
    bank = make_bank(tmp_path, wingnut={})
    opened = Bucket.from_url(f"s3://{bucket}")
    intake(bank, f"s3://{bucket}", requested_by="mia")
    open_store(f"s3://{bucket}/x").put_new("a", b"1")
    with pytest.raises(StoreError) as failed:
        intake(bank, "s3://no-such-bucket", requested_by="mia")
    said = [repr(opened), str(opened), str(failed.value), repr(failed.value), caplog.text]
    assert len(caplog.text) > 1000
    assert [words for words in said if SECRET_KEY in words] == []


def test_an_airflow_connection_reaches_the_bucket(
    s3: Gateway, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("airflow")
    from seedbank.orchestration.runs import s3_access

    upload(bucket, "wingnut/one.jpg", jpeg(photo()))
    upload(bucket, "wingnut/one.jpg.yaml", SIDECAR)
    for name in s3.env:
        monkeypatch.delenv(name)
    assert s3_access() is None
    extra = {"endpoint_url": f"http://{s3.endpoint}", "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": ACCESS_KEY, "password": SECRET_KEY, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_PHOTOS", json.dumps(connection))
    monkeypatch.setenv("SEEDBANK_S3_CONNECTION", "photos")
    bank = make_bank(tmp_path, wingnut={})
    assert intake(bank, f"s3://{bucket}", requested_by="mia", s3=s3_access()).counts["accepted"] == 1
    del extra["endpoint_url"]
    monkeypatch.setenv("AIRFLOW_CONN_PHOTOS", json.dumps(connection))
    with pytest.raises(UsageError, match="'photos' to have an extra 'endpoint_url'"):
        s3_access()


def test_photos_are_taken_in_from_a_bucket(bucket: str, tmp_path: Path) -> None:
    data = jpeg(photo())
    upload(bucket, "in/wingnut/one.jpg", data)
    upload(bucket, "in/wingnut/one.jpg.yaml", SIDECAR)
    upload(bucket, "in/wingnut/two.jpg", jpeg(photo(index=1)))
    upload(bucket, "in/sprocket/three.jpg", data)
    upload(bucket, "elsewhere/wingnut/four.jpg", data)
    bank = make_bank(tmp_path, wingnut={})
    report = intake(bank, f"s3://{bucket}/in", requested_by="mia")
    assert [item.name for item in report.accepted] == ["one.jpg"]
    reasons = {item.name: item.reason for item in report.quarantined}
    assert reasons["two.jpg"].startswith("no rights on record")
    assert reasons["three.jpg"].startswith("no concept 'sprocket'")
    assert load_photos(bank, "wingnut")[0].photo == sha256(data)
    again = intake(bank, f"s3://{bucket}/in", requested_by="mia")
    assert (len(again.accepted), len(again.known), len(again.quarantined)) == (0, 1, 2)


def test_the_address_says_nothing_secret(bucket: str) -> None:
    store = S3Store.from_url(f"s3://{bucket}/x")
    assert SECRET_KEY not in repr(store) + store.url


@pytest.mark.parametrize("url", ["s3://", "s3:///key", "s3://key:secret@bucket", "s3://bucket?x=1"])
def test_other_addresses_are_used_wrongly(bucket: str, url: str) -> None:
    with pytest.raises(UsageError, match="expected s3://bucket"):
        open_store(url)
