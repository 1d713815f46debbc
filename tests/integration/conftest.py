"""A real S3 server, started once a session by the first test that asks for it."""

from collections.abc import Iterator

import pytest

from support.radosgw import Gateway, NotToBeHad, gateway


@pytest.fixture(scope="session")
def s3() -> Iterator[Gateway]:
    try:
        with gateway() as running:
            yield running
    except NotToBeHad as reason:
        pytest.skip(f"no S3 server: {reason}")
