"""The sandbox: decodes pictures in a process of its own, so that a hostile file can at worst cost that process.

The worker has bounds on memory, files and processes, no environment but a path, and a number of seconds for each picture. It is started
for the first picture, kept for the next ones, and replaced when it dies. It speaks in frames, a length of eight bytes and then the bytes:
a picture goes in; what it is, in JSON, and its working copy, which is empty for what was refused, come out.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import resource
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

from seedbank.errors import OutsideError
from seedbank.references.intake.decode import MAX_PIXELS, NotAPhoto, NotNow, decode
from seedbank.references.intake.faces import cascade, count_faces
from seedbank.references.measures.photo import measure

MEMORY_BYTES = 3 * 2**29
"""1.5 GiB on top of what the interpreter takes: several times the largest picture that is decoded."""
SECONDS = 20.0
"""For one picture; the largest allowed one takes about 3."""
LONGEST_ANSWER = 4 * MAX_PIXELS
"""More than any working copy; a worker that sends more is not ours any longer."""
LENGTH = struct.Struct(">Q")
PIPE_BYTES = 2**20
"""What Linux lets anyone have; with the usual 64 KiB, processes take turns fifty times for one picture."""


@dataclass(frozen=True)
class WorkingCopy:
    """A picture as a PNG that holds nothing but upright sRGB pixels, its size in pixels, the format it came in, what may be faces, and its
    measures (:mod:`seedbank.references.measures.photo`)."""

    png: bytes
    width: int
    height: int
    format: str
    faces: int
    measures: dict[str, float]


class Sandbox:
    """Decodes pictures in a worker process. Use it as a context manager, from one thread."""

    def __init__(self, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self._seconds, self._memory_bytes = seconds, memory_bytes
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The worker's process id; 0 while there is none."""
        return self._worker.pid if self._worker else 0

    def decode(self, data: bytes) -> WorkingCopy:
        """The working copy of a picture.

        Raises:
            NotAPhoto: it breaks one of the rules of :mod:`seedbank.references.intake.decode`, took too long or killed the worker.
            OutsideError: no worker can be started here.
        """
        # Twice, because a worker may also die for reasons of its own: killed while idle, or out of memory because of others.
        for _ in range(2):
            answer, late = self._ask(data)
            if late:
                raise NotNow(
                    f"corrupt: decoding it took more than {self._seconds:g} seconds; save it again as a JPEG or PNG"
                )
            if answer is not None:
                return _working_copy(*answer)
        raise NotAPhoto("corrupt: decoding it made the decoder give up; save it again as a JPEG or PNG")

    def _ask(self, data: bytes) -> tuple[tuple[bytes, bytes] | None, bool]:
        """The worker's answer, None if it died over it; and whether that was because it took too long."""
        worker = self._worker or self._start()
        late = threading.Event()

        def give_up() -> None:
            late.set()
            worker.kill()

        alarm = threading.Timer(self._seconds, give_up)
        alarm.start()
        try:
            answer = _exchange(worker, data)
        finally:
            alarm.cancel()
        if answer is None:
            self._stop()
        return answer, late.is_set() and answer is None

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-m", "seedbank.references.intake.sandbox", str(self._memory_bytes)]
        # No credentials of ours in there: a decoder has no use for them.
        env = {"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1"}
        try:
            self._worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
            )
            for pipe in (self._worker.stdin, self._worker.stdout):
                if pipe:
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError as error:
            raise OutsideError(
                f"cannot start a process to decode pictures in: {error.strerror}; free some memory"
            ) from error
        return self._worker

    def _stop(self) -> None:
        if self._worker is None:
            return
        self._worker.kill()
        for pipe in (self._worker.stdin, self._worker.stdout):
            try:
                if pipe:
                    pipe.close()
            except BrokenPipeError:  # what was still to be written has no reader any more
                pass
        self._worker.wait()
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


def _exchange(worker: subprocess.Popen[bytes], data: bytes) -> tuple[bytes, bytes] | None:
    assert worker.stdin
    assert worker.stdout
    try:
        _send(worker.stdin, data)
        return _receive(worker.stdout, LONGEST_ANSWER), _receive(worker.stdout, LONGEST_ANSWER)
    except (OSError, EOFError):
        return None


def _working_copy(head: bytes, png: bytes) -> WorkingCopy:
    fields: dict[str, Any] = json.loads(head)
    if "refused" in fields:
        raise NotAPhoto(fields["refused"])
    return WorkingCopy(png, **fields)


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes], longest: int) -> bytes:
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size or (size := LENGTH.unpack(head)[0]) > longest:
        raise EOFError
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _work_on(data: bytes) -> tuple[dict[str, Any], bytes]:
    decoded = decode(data)
    png = decoded.to_png()
    image = decoded.image
    fields = {"width": image.width, "height": image.height, "format": decoded.format, "faces": count_faces(image)}
    return fields | {"measures": measure(image, data)}, png


def _answer(data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        return _work_on(data)
    except NotAPhoto as error:
        return {"refused": str(error)}, b""
    except MemoryError:
        return {"refused": "too many pixels: decoding it takes too much memory; scale it down"}, b""


def _confine(memory_bytes: int) -> None:
    """Bounds for the rest of this process's life. Everything that decoding needs is imported before."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))


def _work(memory_bytes: int) -> None:
    from PIL import Image

    Image.init()  # load decoders and cascade while files can still be opened
    cascade()
    with suppress(NotAPhoto):
        decode(b"\0")
    _confine(memory_bytes)
    while True:
        try:
            data = _receive(sys.stdin.buffer, 2**63)
        except EOFError:
            return
        fields, png = _answer(data)
        _send(sys.stdout.buffer, json.dumps(fields).encode())
        _send(sys.stdout.buffer, png)


if __name__ == "__main__":
    _work(int(sys.argv[1]))
