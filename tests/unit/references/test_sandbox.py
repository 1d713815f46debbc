import io
import signal
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from seedbank.references.decode import NotAPhoto, decode
from seedbank.references.sandbox import Sandbox
from support.photos import jpeg, photo


def workers() -> list[psutil.Process]:
    return [item for item in psutil.Process().children() if "seedbank.references.sandbox" in item.cmdline()]


def test_the_working_copy_is_what_decoding_here_gives() -> None:
    data = jpeg(photo())
    with Sandbox() as sandbox:
        copy, here = sandbox.decode(data), decode(data)
    assert (copy.width, copy.height, copy.format) == (160, 160, "JPEG")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(copy.png))), np.asarray(here.image))


def test_a_refusal_keeps_its_words_and_the_worker_lives_on() -> None:
    with Sandbox() as sandbox:
        sandbox.decode(jpeg(photo()))
        before = workers()
        for data, reason in [(b"", "empty"), (b"text", "not a picture"), (jpeg(photo())[:900], "corrupt: it cannot")]:
            with pytest.raises(NotAPhoto, match=reason):
                sandbox.decode(data)
        assert workers() == before


def test_the_worker_sees_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    with Sandbox() as sandbox:
        sandbox.decode(jpeg(photo()))
        assert set(workers()[0].environ()) == {"PATH", "OPENBLAS_NUM_THREADS"}


def test_a_worker_that_died_while_idle_is_replaced() -> None:
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


def test_nothing_is_started_for_nothing_and_nothing_is_left_running() -> None:
    with Sandbox() as sandbox:
        assert workers() == []
        sandbox.decode(jpeg(photo()))
        assert len(workers()) == 1
    assert workers() == []
