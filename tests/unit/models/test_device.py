"""Where networks compute: the rule, what is refused, whose turn it is, and a card that goes away."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from seedbank.errors import OutsideError, UsageError
from seedbank.models.device import (
    Accelerators,
    choose_device,
    choose_dtype,
    failures_named,
    hold,
    is_device_failure,
    turn,
)

TWO_CARDS = Accelerators(("NVIDIA A10G", "NVIDIA L4"))
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        ("auto", TWO_CARDS, "cuda:0"),
        ("auto", Accelerators(mps=True), "mps"),
        ("auto", Accelerators(), "cpu"),
        ("cuda", TWO_CARDS, "cuda:0"),
        ("cuda:1", TWO_CARDS, "cuda:1"),
        ("cpu", TWO_CARDS, "cpu"),
    ],
)
def test_cuda_comes_before_mps_and_mps_before_the_cpu(wanted: str, there: Accelerators, expected: str) -> None:
    assert choose_device(wanted, there=there) == torch.device(expected)


@pytest.mark.parametrize("wanted", ["cuda:2", "mps", "gpu", ""])
def test_a_device_that_is_not_there_is_refused_with_what_is(wanted: str) -> None:
    with pytest.raises(UsageError, match=r"cuda:0 \(NVIDIA A10G\), cuda:1 \(NVIDIA L4\), cpu.*SEEDBANK_DEVICE"):
        choose_device(wanted, there=TWO_CARDS)


def test_this_machine_has_a_cpu() -> None:
    assert choose_device("cpu") == CPU
    assert Accelerators.here().devices[-1] == "cpu"


def test_the_cpu_computes_in_float32_unless_asked() -> None:
    assert choose_dtype("auto", CPU) is torch.float32
    assert choose_dtype("bfloat16", CPU) is torch.bfloat16


def test_mps_computes_in_float16() -> None:
    assert choose_dtype("auto", torch.device("mps")) is torch.float16


def test_a_precision_that_the_device_lacks_is_refused_with_the_reason() -> None:
    # PyTorch is not built for this one, so the first operation fails, as one that a card lacks does
    with pytest.raises(UsageError, match=r"xpu computes in, got bfloat16: .*; choose auto or float32"):
        choose_dtype("bfloat16", torch.device("xpu"))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="among auto, float32, bfloat16, float16, got 'int8'"):
        choose_dtype("int8", CPU)  # type: ignore[arg-type]


def test_the_cpu_is_not_held(tmp_path: Path) -> None:
    with hold(CPU, tmp_path), hold(CPU, tmp_path):
        assert not (tmp_path / "locks").exists()


def test_a_second_search_waits_and_says_so_once(tmp_path: Path) -> None:
    lock, said, order = tmp_path / "locks" / "card.lock", list[str](), list[str]()
    waiting = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        waiting.set()

    def second() -> None:
        with turn(lock, say=say):
            order.append("second")

    thread = threading.Thread(target=second)
    with turn(lock):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert len(said) == 1
    assert "SEEDBANK_SHARE_GPU=1" in said[0]


def test_those_that_share_work_at_once(tmp_path: Path) -> None:
    said = list[str]()
    with (
        turn(tmp_path / "card.lock", share=True, say=said.append),
        turn(tmp_path / "card.lock", share=True, say=said.append),
    ):
        assert not said


def test_a_card_that_goes_away_says_how_it_goes_on() -> None:
    said = r"GPU failed or is gone: CUDA error: device lost; .*goes on from its last checkpoint"
    with pytest.raises(OutsideError, match=said), failures_named("the trial goes on from its last checkpoint"):
        raise RuntimeError("CUDA error: device lost\nCUDA kernel errors might be asynchronously reported")


def test_memory_that_ran_out_is_no_failure_of_the_card() -> None:
    assert not is_device_failure(RuntimeError("CUDA error: out of memory"))
    assert not is_device_failure(torch.OutOfMemoryError("CUDA out of memory"))


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shapes"), failures_named("never said"):
        raise RuntimeError("shapes do not fit")
