"""Names of processors as systems give them."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from seedbank.evaluation.machine import machine, processor


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel Xeon"),
        ("AMD EPYC 9B14 Processor", "AMD EPYC 9B14"),
        ("11th Gen Intel(R) Core(TM) i7-1185G7 @ 3.00GHz", "11th Gen Intel Core i7-1185G7"),
    ],
)
def test_the_name_is_without_trade_marks_and_clock(tmp_path: Path, given: str, name: str) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nmodel name\t: {given}\nmodel name\t: another\n")
    assert processor(info) == f"{name} ({platform.machine()})"


def test_without_a_name_there_is_the_architecture(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\n")
    assert processor(tmp_path / "cpuinfo") == processor(tmp_path / "none") == platform.machine()


def test_the_cores_are_counted() -> None:
    assert machine().endswith(f"cores of {processor()}")
