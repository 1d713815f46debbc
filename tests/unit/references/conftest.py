from pathlib import Path

import pytest

from seedbank.bank import Bank
from support.photos import make_bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return make_bank(tmp_path, wingnut={}, hook={})
