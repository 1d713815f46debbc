"""Where networks compute: the rule, what is refused, whose turn it is, and a card that goes away."""

from __future__ import annotations

import subprocess
import sys
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


WORKER = """
import sys, time
from pathlib import Path
import torch
from seedbank.models.device import hold
home, name = Path(sys.argv[1]), sys.argv[2]
with hold(torch.device("mps"), home, say=lambda text: print("waits:", text, flush=True)):
    print("has its turn", flush=True)
    while not (home / f"{name} may end").exists():
        time.sleep(0.02)
print("ended", flush=True)
"""
"""Has its turn on a card until it may end. MPS need not be here: its lock is known by its name alone."""


def test_of_two_searches_on_one_card_one_waits_and_both_end(tmp_path: Path) -> None:
    def begin(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), name], stdout=subprocess.PIPE, text=True)

    with begin("one") as one, begin("other") as other:
        said = {process: (process.stdout or sys.stdin).readline().strip() for process in (one, other)}
        # Whichever imports faster is the first.
        first, second = sorted((one, other), key=lambda process: said[process] != "has its turn")
        assert said[first] == "has its turn"
        assert said[second].startswith("waits: another search is working on this device")
        for name in ("one", "other"):
            (tmp_path / f"{name} may end").touch()
        rest = [[line.strip() for line in process.stdout or ()] for process in (first, second)]
    assert rest == [["ended"], ["has its turn", "ended"]]
    assert (first.returncode, second.returncode) == (0, 0)


def test_the_turn_of_a_search_that_was_killed_is_over(tmp_path: Path) -> None:
    lock, said = tmp_path / "locks" / "mps.lock", list[str]()
    lock.parent.mkdir()
    code = "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()

        def end_it(text: str) -> None:
            said.append(text)
            holder.kill()

        with hold(torch.device("mps"), tmp_path, say=end_it):
            assert len(said) == 1


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
