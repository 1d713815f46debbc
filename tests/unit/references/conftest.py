from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seedbank.bank import Bank
from seedbank.references.intake.outcomes import IntakeReport
from seedbank.references.intake.run import intake
from seedbank.references.intake.sandbox import Sandboxes
from support.photos import Take, make_bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return make_bank(tmp_path, wingnut={}, hook={})


@pytest.fixture(scope="session")
def sandboxes() -> Iterator[Sandboxes]:
    """Real sandboxes that all tests share, because starting one takes longer than most tests."""
    with Sandboxes(2) as running:
        yield running


@pytest.fixture
def take(sandboxes: Sandboxes) -> Take:
    """Take photos in."""

    def run(bank: Bank, folder: Path, concept: str | None = None, **more: Any) -> IntakeReport:
        return intake(bank, folder, concept=concept, requested_by="mia", sandboxes=sandboxes, **more)

    return run
