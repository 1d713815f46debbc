"""The sandbox: decodes photos in a process of its own, so that a hostile file can at worst cost that process.

The worker has bounds on memory and files, no environment but a path, and a number of seconds for each photo. It is started for
the first photo, kept for the next ones, and replaced when it dies. The two talk through pipes in messages of bytes
(:class:`multiprocessing.connection.Connection`); nothing is ever unpickled. The worker says once that its bounds hold; then a photo goes
in, and out come two messages: what it is, in JSON, and its working copy, which is empty for what was refused.

What protects must hold: a worker that cannot set one of its bounds decodes nothing. What only makes it faster (larger pipes) may be
refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import resource
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, Self

from seedbank.errors import OutsideError
from seedbank.references.intake.decode import MAX_BYTES, MAX_PIXELS, NotAPhoto, NotNow, decode, too_big
from seedbank.references.intake.faces import cascade, count_faces
from seedbank.references.measures.photo import measure

MEMORY_BYTES = 3 * 2**29
"""1.5 GiB on top of what the interpreter takes: several times the largest photo that is decoded."""
SECONDS = 20.0
"""For one photo; the largest allowed one takes about 3."""
START_SECONDS = 60.0
"""For starting a worker, which imports its decoders: about one on an idle machine."""
LONGEST_ANSWER = 4 * MAX_PIXELS
"""Bytes; more than any working copy. A worker that sends more is not ours any longer."""
LONGEST_GREETING = 4096
"""Bytes of what a worker says about its bounds."""
OPEN_FILES = 16
"""Files that a worker may have open: its pipes, and some that libraries hold."""
PIPE_BYTES = 2**20
"""What Linux lets anyone have; with the usual 64 KiB, processes take turns fifty times for one photo."""


@dataclass(frozen=True, kw_only=True)
class WorkingCopy:
    """A decoded photo.

    Attributes:
        png: a PNG that holds nothing but upright sRGB pixels.
        width, height: its size in pixels.
        format: the format that the photo came in.
        faces: how many places may be faces.
        measures: of the photo by itself (:mod:`seedbank.references.measures.photo`).
    """

    png: bytes
    width: int
    height: int
    format: str
    faces: int
    measures: dict[str, float]


class _Late(Exception):
    """The worker took too long and was killed."""


class _Dead(Exception):
    """The worker died, or what it sent is no answer."""


@dataclass(frozen=True)
class _Worker:
    """A worker process and our ends of its pipes."""

    process: subprocess.Popen[bytes]
    requests: Connection
    answers: Connection

    def exchange(self, data: bytes, *, seconds: float) -> WorkingCopy:
        """The worker's answer to a photo.

        Raises:
            NotAPhoto: it refused the photo.
            _Late: it took more than ``seconds``.
            _Dead: it died over it.
        """
        with _Deadline(self.process, seconds):
            self.requests.send_bytes(data)
            # A longer message is refused by the length that it announces, before any of it is read.
            head = self.answers.recv_bytes(LONGEST_ANSWER)
            png = self.answers.recv_bytes(LONGEST_ANSWER)
            return _parse(head, png)

    def stop(self) -> None:
        """Kill it and wait until it is gone."""
        self.process.kill()
        self.requests.close()
        self.answers.close()
        self.process.wait()


@dataclass
class _Deadline:
    """Kills a process that is not done in time, and says so; use it as a context manager."""

    process: subprocess.Popen[bytes]
    seconds: float
    _passed: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> None:
        self._timer = threading.Timer(self.seconds, self._kill)
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # A dead worker has closed its pipes: sending fails with an OSError, receiving with an EOFError. An answer that is too long is an
        # OSError as well, and one that does not say what it should a ValueError.
        if isinstance(error, OSError | EOFError | ValueError):
            raise (_Late if self._passed.is_set() else _Dead) from error

    def _kill(self) -> None:
        self._passed.set()
        self.process.kill()


class Sandbox:
    """Decodes photos in a worker process. Use it as a context manager, from one thread.

    Args:
        seconds: how long one photo may take.
        memory_bytes: how much address space decoding may take, on top of what the interpreter takes.
    """

    def __init__(self, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self._seconds, self._memory_bytes = seconds, memory_bytes
        self._worker: _Worker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The worker's process id; 0 while there is none."""
        return self._worker.process.pid if self._worker else 0

    def decode(self, data: bytes) -> WorkingCopy:
        """The working copy of a photo.

        Raises:
            NotAPhoto: it breaks one of the rules of :mod:`seedbank.references.intake.decode` or killed the worker.
            NotNow: it took too long.
            OutsideError: no worker can be started here, or not within its bounds.
        """
        if len(data) > MAX_BYTES:
            raise NotAPhoto(too_big(len(data)))
        # Twice, because a worker may also die for reasons of its own: killed while idle, or out of memory because of others.
        for _ in range(2):
            worker = self._worker = self._worker or _start(self._memory_bytes)
            try:
                return worker.exchange(data, seconds=self._seconds)
            except _Late:
                self._stop()
                raise NotNow(
                    f"corrupt: decoding it took more than {self._seconds:g} seconds; save it again as a JPEG or PNG"
                ) from None
            except _Dead:
                self._stop()
        raise NotAPhoto("corrupt: decoding it made the decoder give up; save it again as a JPEG or PNG")

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


class Sandboxes:
    """Several sandboxes, each used from one thread at a time; the first is reused as long as it keeps up. Use it as a context manager."""

    def __init__(self, count: int) -> None:
        self._all = [Sandbox() for _ in range(count)]
        self._idle: queue.LifoQueue[Sandbox] = queue.LifoQueue()
        for sandbox in self._all:
            self._idle.put(sandbox)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sandbox in self._all:
            sandbox.__exit__(kind, error, trace)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._all)

    def decode(self, data: bytes) -> WorkingCopy:
        """:meth:`Sandbox.decode` in whichever sandbox is idle; waits for one."""
        sandbox = self._idle.get()
        try:
            return sandbox.decode(data)
        finally:
            self._idle.put(sandbox)


def _start(memory_bytes: int) -> _Worker:
    """A worker whose bounds hold.

    Raises:
        OutsideError: it cannot be started, or one of its bounds cannot be set.
    """
    try:
        (their_requests, requests), (answers, their_answers) = Pipe(duplex=False), Pipe(duplex=False)
        # Our copies of the worker's ends are closed at once, or its death would not end our waiting.
        with their_requests, their_answers:
            for pipe in (requests, answers):
                with suppress(OSError):  # a user's quota of pipe memory may be spent: a small pipe is slower, and works
                    fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            handles = (their_requests.fileno(), their_answers.fileno())
            process = subprocess.Popen(
                # -I: no module can be slipped in by the working folder or by PYTHON variables.
                [sys.executable, "-I", "-m", __spec__.name, str(memory_bytes), *map(str, handles)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=handles,
                env={"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1"},  # no credentials: a decoder has no use for them
            )
    except OSError as error:
        raise OutsideError(
            f"cannot start a process to decode photos in: {error.strerror}; free some memory or file handles"
        ) from error
    worker = _Worker(process, requests, answers)
    try:
        with _Deadline(process, START_SECONDS):
            fault = answers.recv_bytes(LONGEST_GREETING).decode()
    except (_Late, _Dead) as error:
        worker.stop()
        fate = "did not get ready" if isinstance(error, _Late) else f"ended at once (status {process.returncode})"
        raise OutsideError(
            f"cannot start a process to decode photos in: it {fate}; look whether `{sys.executable} -I -m {__spec__.name}` runs here"
        ) from error
    if fault:
        worker.stop()
        raise OutsideError(
            f"cannot decode photos safely: the decoder's process could not be bounded ({fault}); "
            "let this machine or container set resource limits (setrlimit) and show /proc"
        )
    return worker


def _parse(head: bytes, png: bytes) -> WorkingCopy:
    """What an answer says; it is believed in nothing, since a hostile photo may have taken over the worker.

    Raises:
        NotAPhoto: the worker refused the photo.
        ValueError: it is no answer.
    """
    match json.loads(head):
        case {"refused": str(reason)}:
            raise NotAPhoto(reason)
        case {
            "width": int(width),
            "height": int(height),
            "format": str(kind),
            "faces": int(faces),
            "measures": dict(measures),
        } if width > 0 and height > 0 and faces >= 0 and all(isinstance(value, float) for value in measures.values()):
            return WorkingCopy(png=png, width=width, height=height, format=kind, faces=faces, measures=measures)
    raise ValueError("not an answer")


def _decode(data: bytes) -> tuple[dict[str, Any], bytes]:
    """In the worker: what a photo is, and its working copy."""
    decoded = decode(data)
    image = decoded.image
    fields = {"width": image.width, "height": image.height, "format": decoded.format, "faces": count_faces(image)}
    return fields | {"measures": measure(image, data)}, decoded.to_png()


def _answer(data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        return _decode(data)
    except NotAPhoto as error:
        return {"refused": str(error)}, b""
    except MemoryError:
        return {"refused": "too many pixels: decoding it takes too much memory; scale it down"}, b""


def _confine(memory_bytes: int) -> None:
    """Bounds for the rest of this process's life. Everything that decoding needs is imported before.

    Raises:
        OSError, ValueError: one of them cannot be set.
    """
    # RLIMIT_AS counts addresses, many of which libraries take by being loaded: the bound comes on top of those.
    with open("/proc/self/statm") as file:  # noqa: PTH123
        taken = int(file.read().split()[0]) * resource.getpagesize()
    # RLIMIT_FSIZE 0: no file can be written to. RLIMIT_CORE 0: a crash leaves no photo in a dump.
    bounds = (
        (resource.RLIMIT_AS, taken + memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    )
    for kind, wanted in bounds:
        _, hard = resource.getrlimit(kind)
        # Where whoever started us is bounded more tightly, that bound holds; it could not be raised either.
        least = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (least, least))


def _work(memory_bytes: int, requests: Connection, answers: Connection) -> None:
    """A worker's life: confine itself, say so, then answer until nobody asks any more."""
    from PIL import Image

    Image.init()  # load decoders and cascade while files can still be opened
    cascade()
    with suppress(NotAPhoto):
        decode(b"\0")
    try:
        _confine(memory_bytes)
    except (OSError, ValueError) as error:
        answers.send_bytes(str(error).encode())
        return
    answers.send_bytes(b"")
    while True:
        try:
            data = requests.recv_bytes(MAX_BYTES)
        except EOFError:
            return
        fields, png = _answer(data)
        answers.send_bytes(json.dumps(fields).encode())
        answers.send_bytes(png)


if __name__ == "__main__":
    _work(int(sys.argv[1]), Connection(int(sys.argv[2]), writable=False), Connection(int(sys.argv[3]), readable=False))
