import io
import json
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from seedbank.errors import OutsideError
from seedbank.references.intake import sandbox as module
from seedbank.references.intake.decode import NotAPhoto, NotNow, decode
from seedbank.references.intake.sandbox import Sandbox, Sandboxes
from support.photos import face, jpeg, photo

Workers = Callable[[], list[psutil.Process]]


@pytest.fixture
def workers() -> Workers:
    """The workers that were started in this test and still run."""

    def running() -> list[psutil.Process]:
        return [item for item in psutil.Process().children() if "seedbank.references.intake.sandbox" in item.cmdline()]

    before = set(running())
    return lambda: [item for item in running() if item not in before]


def test_the_working_copy_is_what_decoding_here_gives() -> None:
    data = jpeg(photo())
    with Sandbox() as sandbox:
        copy, here = sandbox.decode(data), decode(data)
    assert (copy.width, copy.height, copy.format) == (160, 160, "JPEG")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(copy.png))), np.asarray(here.image))


def test_a_refusal_keeps_its_words_and_the_worker_lives_on(workers: Workers) -> None:
    with Sandbox() as sandbox:
        sandbox.decode(jpeg(photo()))
        before = workers()
        for data, reason in [(b"", "empty"), (b"text", "not a picture"), (jpeg(photo())[:900], "corrupt: it cannot")]:
            with pytest.raises(NotAPhoto, match=reason):
                sandbox.decode(data)
        assert workers() == before


def test_the_worker_sees_nothing_of_our_environment(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    with Sandbox() as sandbox:
        sandbox.decode(jpeg(photo()))
        assert set(workers()[0].environ()) == {"PATH", "OPENBLAS_NUM_THREADS"}


def test_a_worker_that_died_while_idle_is_replaced(workers: Workers) -> None:
    with Sandbox() as sandbox:
        sandbox.decode(jpeg(photo()))
        (first,) = workers()
        first.send_signal(signal.SIGKILL)
        first.wait(5)
        assert sandbox.decode(jpeg(photo())).width == 160
        assert workers() != [first]


def test_a_photo_that_takes_too_long_is_given_up(workers: Workers) -> None:
    large = jpeg(Image.effect_noise((6000, 6000), 60).convert("RGB"))
    with Sandbox(seconds=0.02) as impatient:
        with pytest.raises(NotNow, match=r"took more than 0\.02 seconds"):
            impatient.decode(large)  # 36 million pixels take any machine longer than that
        assert workers() == []


def test_memory_is_bounded() -> None:
    large = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(large, "PNG")
    with Sandbox(memory_bytes=16 * 2**20) as small, pytest.raises(NotAPhoto, match=r"too many pixels|give up"):
        small.decode(large.getvalue())


def test_nothing_is_started_for_nothing_and_nothing_is_left_running(workers: Workers) -> None:
    with Sandbox() as sandbox:
        assert workers() == []
        sandbox.decode(jpeg(photo()))
        assert len(workers()) == 1
    assert workers() == []


def test_a_file_that_kills_the_decoder_costs_the_worker_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox() as sandbox:
        sandbox.decode(jpeg(photo()))
        exchange, sent = module._Worker.exchange, []

        def killed(worker: module._Worker, data: bytes, *, seconds: float) -> module.WorkingCopy:
            sent.append(worker.process.pid)
            worker.process.kill()  # as a decoder does that runs into bad memory
            return exchange(worker, data, seconds=seconds)

        with monkeypatch.context() as patch:
            patch.setattr(module._Worker, "exchange", killed)
            with pytest.raises(NotAPhoto, match="made the decoder give up; save it again"):
                sandbox.decode(jpeg(photo()))
        assert len(set(sent)) == 2
        assert sandbox.decode(jpeg(photo())).width == 160


FORGED = """#!{python}
import sys
from multiprocessing.connection import Connection
requests, answers = Connection(int(sys.argv[-2]), writable=False), Connection(int(sys.argv[-1]), readable=False)
answers.send_bytes(b"")
requests.recv_bytes()
try:
    answers.send_bytes({head!r})
    answers.send_bytes(b"png")
    requests.recv_bytes()
except OSError:
    pass
"""
GOOD = {"width": 1, "height": 1, "format": "PNG", "faces": 0, "measures": {"noise": 1.0}}


@pytest.mark.parametrize(
    "head",
    [
        b"\x80\x04N.",  # a pickle of None
        b"[]",
        b"{}",
        b"x" * 2000,
        json.dumps(GOOD | {"width": "1"}).encode(),
        json.dumps(GOOD | {"height": -1}).encode(),
        json.dumps(GOOD | {"measures": {"noise": "loud"}}).encode(),
    ],
)
def test_a_worker_that_was_taken_over_is_believed_in_nothing(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    forged = tmp_path / "python"
    forged.write_text(FORGED.format(python=sys.executable, head=head))
    forged.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(forged))
    monkeypatch.setattr(module, "LONGEST_ANSWER", 1000)
    with Sandbox() as sandbox, pytest.raises(NotAPhoto, match="made the decoder give up"):
        sandbox.decode(jpeg(photo()))
    assert workers() == []


def test_the_forged_worker_of_these_tests_would_be_believed_if_it_gave_a_good_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = tmp_path / "python"
    forged.write_text(FORGED.format(python=sys.executable, head=json.dumps(GOOD).encode()))
    forged.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(forged))
    with Sandbox() as sandbox:
        assert sandbox.decode(jpeg(photo())).png == b"png"


@pytest.mark.parametrize(
    ("executable", "why"),
    [("/bin/false", r"it ended at once \(status 1\); look whether"), ("/nowhere", "No such file or directory")],
)
def test_a_worker_that_cannot_start_is_no_fault_of_the_photo(
    monkeypatch: pytest.MonkeyPatch, executable: str, why: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with Sandbox() as sandbox, pytest.raises(OutsideError, match=f"cannot start a process to decode photos in: {why}"):
        sandbox.decode(jpeg(photo()))


def test_what_is_too_big_is_not_sent_to_a_worker(workers: Workers) -> None:
    with Sandbox() as sandbox, pytest.raises(NotAPhoto, match="too big: 67,108,865 bytes"):
        sandbox.decode(bytes(64 * 2**20 + 1))
    assert workers() == []


def test_several_sandboxes_are_started_as_they_are_needed(workers: Workers) -> None:
    with Sandboxes(3) as sandboxes:
        for _ in range(3):
            sandboxes.decode(jpeg(photo()))
        assert len(workers()) == 1
        with ThreadPoolExecutor(3) as executor:
            assert [copy.width for copy in executor.map(sandboxes.decode, [jpeg(photo())] * 12)] == [160] * 12
        assert 1 <= len(workers()) <= 3
    assert workers() == []


def test_the_worker_looks_for_faces() -> None:
    with Sandbox() as sandbox:
        assert (sandbox.decode(jpeg(face())).faces, sandbox.decode(jpeg(photo())).faces) == (1, 0)
