import io
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from PIL import Image

from seedbank.references.intake import sandbox as module
from seedbank.references.intake.decode import NotAPhoto, decode
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


def test_a_picture_that_takes_too_long_is_given_up() -> None:
    with Sandbox(seconds=0.02) as impatient:
        start = time.monotonic()
        with pytest.raises(NotAPhoto, match=r"took more than 0\.02 seconds"):
            impatient.decode(jpeg(photo()))  # starting the interpreter takes longer than that
        assert time.monotonic() - start < 5


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
        exchange, sent = module._exchange, []

        def killed(worker: subprocess.Popen[bytes], data: bytes) -> bytes | None:
            sent.append(worker.pid)
            worker.kill()  # as a decoder does that runs into bad memory
            return exchange(worker, data)

        with monkeypatch.context() as patch:
            patch.setattr(module, "_exchange", killed)
            with pytest.raises(NotAPhoto, match="made the decoder give up; save it again"):
                sandbox.decode(jpeg(photo()))
        assert len(set(sent)) == 2
        assert sandbox.decode(jpeg(photo())).width == 160


def test_several_sandboxes_are_started_as_they_are_needed(workers: Workers) -> None:
    with Sandboxes(3) as rooms:
        for _ in range(3):
            rooms.decode(jpeg(photo()))
        assert len(workers()) == 1
        with ThreadPoolExecutor(3) as pool:
            assert [copy.width for copy in pool.map(rooms.decode, [jpeg(photo())] * 12)] == [160] * 12
        assert 1 <= len(workers()) <= 3
    assert workers() == []


def test_the_worker_looks_for_faces() -> None:
    with Sandbox() as sandbox:
        assert (sandbox.decode(jpeg(face())).faces, sandbox.decode(jpeg(photo())).faces) == (1, 0)
