"""A server process that is watched while it runs and never left behind.

``airflow standalone`` sets the rules. SIGTERM to it orphans its children, SIGINT stops it cleanly; so a service runs in a session of its
own, is stopped by SIGINT, and whatever still lives in that session (or descends from it) a while later is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from seedbank.errors import OutsideError, UsageError

STOP_SECONDS = 12.0
"""How long a service may take to stop by itself. Airflow takes 3 to 10 s, or hangs on an idle worker that it waits for."""
LAST_LINES = 15
"""How much of a dead service's log goes into the error."""
ZOMBIE_SECONDS = 2.0
"""A child that its parent did not ask about for this long is not one that it is just waiting for."""
PR_SET_PDEATHSIG = 1
"""``prctl(2)``: the signal a process gets when its parent dies."""


@dataclass
class Service:
    """One server: how to start it, how to know that it is ready, and its process while it runs.

    Attributes:
        name: what a person calls it.
        command: program and arguments.
        env: the whole environment of the process.
        log: file its output goes to (appended).
        url: where a person finds it.
        ready: answers whether it is of use yet; must not raise.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    url: str
    ready: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _zombies: dict[int, float] = field(default_factory=dict, repr=False)

    def start(self) -> None:
        """Start the process in a session of its own, so that a Ctrl-C on the terminal reaches only the demo."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_before_exec,
            )

    def check(self) -> None:
        """Raise :class:`~seedbank.errors.OutsideError` with the end of the log if the process, or a part it started, has ended.

        ``airflow standalone`` goes on when its scheduler or API server dies, and leaves a zombie.
        """
        if self.process is None:
            return
        if self.process.poll() is not None:
            fate = f"stopped by itself (exit code {self.process.returncode})"
        elif self._lost_a_part(self.process.pid):
            fate = "lost one of its parts"
        else:
            return
        raise OutsideError(f"{self.name} {fate}; the end of {self.log}:\n{last_lines(self.log)}")

    def _lost_a_part(self, pid: int) -> bool:
        """Whether a child has been dead for a while without anybody asking how it ended."""
        zombies = {part.pid for part in _children(pid) if _is_zombie(part)}
        now = time.monotonic()
        self._zombies = {zombie: self._zombies.get(zombie, now) for zombie in zombies}
        return any(now - since > ZOMBIE_SECONDS for since in self._zombies.values())

    def ask_to_stop(self) -> None:
        """Send SIGINT, which Airflow and MLflow both take as "stop cleanly"."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def family(self) -> list[psutil.Process]:
        """Every living process of this service: its descendants and whoever else is in its session."""
        if self.process is None:
            return []
        found = {process.pid: process for process in psutil.process_iter() if _session(process.pid) == self.process.pid}
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            found |= {process.pid: process for process in (root, *root.children(recursive=True))}
        return [process for process in found.values() if _alive(process)]


def stop_all(services: Sequence[Service], *, patience: float = STOP_SECONDS) -> int:
    """Stop all services at once; return how many processes had to be killed because they did not stop by themselves."""
    families = [process for service in services for process in service.family()]
    for service in services:
        service.ask_to_stop()
    deadline = time.monotonic() + patience
    with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C means: do not wait, kill
        while time.monotonic() < deadline and any(_alive(process) for process in families):
            _reap(services)
            time.sleep(0.1)
    left = {process.pid: process for process in families if _alive(process)}
    left |= {process.pid: process for service in services for process in service.family()}
    for process in left.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(left.values()), timeout=5)
    _reap(services)
    return len(left)


def wait_ready(services: Sequence[Service], *, seconds: float, observe: Callable[[Sequence[Service]], None]) -> None:
    """Wait until all services are ready; ``observe`` gets, every half second, those that are not yet.

    Raises:
        OutsideError: one died, or they are not all ready after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    waiting = list(services)
    while waiting:
        for service in services:
            service.check()
        waiting = [service for service in waiting if not service.ready()]
        observe(waiting)
        if waiting and time.monotonic() > deadline:
            late = waiting[0]
            raise OutsideError(
                f"expected {late.name} to be ready within {seconds:.0f} s, it is not; the end of {late.log}:\n"
                + last_lines(late.log)
            )
        time.sleep(0.5 if waiting else 0)


def choose_port(wanted: int, *, what: str, option: str) -> int:
    """``wanted`` if nobody listens there on loopback, or any free port for 0.

    Raises:
        UsageError: the port is taken; the message says by whom, where the system tells, and which option chooses another.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise UsageError(
                f"expected port {wanted} of 127.0.0.1 to be free for {what}, but it is taken{_by_whom(wanted)} "
                f"({error.strerror}); stop that, or choose another: make demo {option}=0 takes any free port"
            ) from error
        return int(probe.getsockname()[1])


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """The last ``count`` lines of a log file."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-count:])


def _before_exec() -> None:
    """Runs in the new process: take SIGINT, which a shell in the background makes its children ignore, and end with the demo."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform == "linux":
        _stop_with_parent()


def _stop_with_parent() -> None:
    """In the child before exec: be sent SIGINT when the demo dies in a way it cannot handle (SIGKILL)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _reap(services: Sequence[Service]) -> None:
    for service in services:
        if service.process is not None:
            service.process.poll()


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and not _is_zombie(process)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _by_whom(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""
