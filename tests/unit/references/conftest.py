from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbank.bank import Bank
from seedbank.references.sandbox import Sandboxes
from support.photos import make_bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return make_bank(tmp_path, wingnut={}, hook={})


@pytest.fixture(scope="session")
def sandboxes() -> Iterator[Sandboxes]:
    """Real sandboxes that all tests share, because starting one takes longer than most tests."""
    with Sandboxes(2) as running:
        yield running
