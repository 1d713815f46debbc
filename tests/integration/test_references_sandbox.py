"""The sandbox on machines that grant it less: a spent quota of pipe memory, tighter limits, and limits that cannot be set at all.

Each runs in a process of its own whose powers were taken away for good before it began.
"""

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

TESTS = Path(__file__).parents[1]
DECODE = """
from seedbank.errors import SeedbankError
from seedbank.references.intake.sandbox import Sandbox
from support.photos import jpeg
from PIL import Image

with Sandbox() as sandbox:
    try:
        print("width", sandbox.decode(jpeg(Image.new("RGB", (96, 64)))).width)
    except SeedbankError as error:
        print(type(error).__name__, error)
"""
SPEND_PIPES = """
import fcntl, os
spent = []
while True:
    spent += os.pipe()
    try:
        fcntl.fcntl(spent[-1], fcntl.F_SETPIPE_SZ, 2**20)
    except PermissionError:
        print("quota spent")
        break
"""
LIMIT_EARLIER = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**29, 3 * 2**29))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
"""

PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 24, 22, 38  # linux/prctl.h
CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 21, 24  # linux/capability.h
SECCOMP_MODE_FILTER, ALLOW, ERRNO_EPERM = 2, 0x7FFF0000, 0x00050001  # linux/seccomp.h
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
SETTING_LIMITS = {"x86_64": (160, 302), "aarch64": (164, 261)}  # setrlimit, prlimit64


def prctl(*arguments: object) -> None:
    """Whoever may not do it has not the power that it would take away."""
    ctypes.CDLL(None, use_errno=True).prctl(*(ctypes.c_ulong(int(str(value))) for value in arguments))


def no_special_powers() -> None:
    """What a process of an ordinary user has; root keeps its name and loses what lifts quotas and limits."""
    for capability in (CAP_SYS_ADMIN, CAP_SYS_RESOURCE):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def no_setting_of_limits() -> None:
    """The filter of a container that answers EPERM to whoever wants to set (or read) resource limits."""
    calls = SETTING_LIMITS[os.uname().machine]
    code = [(LOAD, 0, 0, 0)]
    code += [(JUMP_EQUAL, len(calls) - index, 0, call) for index, call in enumerate(calls)]
    code += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO_EPERM)]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(packed)))
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0)


def run(script: str, take_away: Callable[[], None]) -> list[str]:
    """What the script prints, line by line, in a process from which something was taken away."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
        preexec_fn=take_away,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(
    Path("/proc/sys/fs/pipe-user-pages-soft").read_text().strip() == "0", reason="this machine has no quota of pipes"
)
def test_a_spent_quota_of_pipe_memory_makes_it_slower_and_nothing_else() -> None:
    assert run(SPEND_PIPES + DECODE, no_special_powers) == ["quota spent", "width 96"]


def test_tighter_limits_of_whoever_started_us_hold_and_are_enough() -> None:
    assert run(LIMIT_EARLIER + DECODE, no_special_powers) == ["width 96"]


@pytest.mark.skipif(
    os.uname().machine not in SETTING_LIMITS, reason="the numbers of its system calls are not known here"
)
def test_a_decoder_that_cannot_be_bounded_decodes_nothing() -> None:
    (said,) = run(DECODE, no_setting_of_limits)
    assert said.startswith("OutsideError cannot decode photos safely: the decoder's process could not be bounded (")
    assert "Operation not permitted" in said
