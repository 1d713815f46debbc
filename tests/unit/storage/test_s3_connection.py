"""What the S3 store says before and without a server. How it works with one: ``tests/integration/test_s3_store.py``."""

import socket

import pytest

from seedbank.errors import StoreError, UsageError
from seedbank.storage import open_store
from seedbank.storage.s3 import connect

ENV = {"SEEDBANK_S3_ENDPOINT": "127.0.0.1:9", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hush"}


@pytest.mark.parametrize("name", list(ENV))
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"missing: {name}"):
        connect({**ENV, name: ""})


def test_an_endpoint_is_a_host_and_not_a_url() -> None:
    with pytest.raises(UsageError, match=r"host\[:port\] without a scheme"):
        connect({**ENV, "SEEDBANK_S3_ENDPOINT": "http://127.0.0.1:9"})


def test_a_server_that_is_not_there_is_an_outside_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        for name, value in {**ENV, "SEEDBANK_S3_ENDPOINT": f"127.0.0.1:{closed.getsockname()[1]}"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SEEDBANK_S3_SECURE", "false")
        monkeypatch.setattr("seedbank.storage.s3.RETRIES", 0)
        with pytest.raises(StoreError, match=r"cannot read a in s3://photos: .*; check SEEDBANK_S3_ENDPOINT") as failed:
            open_store("s3://photos").get("a")
        assert "hush" not in str(failed.value)
