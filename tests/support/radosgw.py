"""A real S3 server for tests: Ceph's gateway from Debian's own packages, unpacked without root and started on loopback.

Packages are fetched once into ``.seedbank/radosgw``; nothing is installed. A fresh store takes about 20 seconds to start.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

HOME = Path(__file__).parents[2] / ".seedbank" / "radosgw"
PACKAGES = ("radosgw", "ceph-mon", "ceph-osd", "ceph-common")
START_S, STOP_S = 240.0, 30.0
STARTS = 3
ACCESS_KEY, SECRET_KEY = "seedbank-tests", "not-a-secret-at-all"

CONF = """
[global]
fsid = {fsid}
mon_host = v1:127.0.0.1:{mon}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = {state}
admin_socket = {state}/$name.asok
log_file = {state}/$name.log
pid_file = {state}/$name.pid
plugin_dir = {lib}/ceph
erasure_code_dir = {lib}/ceph/erasure-code
osd_class_dir = {lib}/rados-classes
crash_dir = {state}/crash
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
osd_crush_chooseleaf_type = 0
osd_objectstore = bluestore
bluestore_block_size = 4294967296
bluestore_block_create = true
osd_memory_target = 939524096
ms_bind_ipv6 = false
ms_bind_msgr2 = false
[mon.a]
mon_data = {state}/mon
mon_addr = 127.0.0.1:{mon}
[osd.0]
osd_data = {state}/osd
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{http}
rgw_data = {state}/rgw
rgw_enable_usage_log = false
rgw_run_sync_thread = false
rgw_enable_apis = s3,admin
rgw_crypt_require_ssl = false
"""


class NotToBeHad(Exception):
    """There is no such server on this machine, for the reason given."""


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    endpoint: str

    @property
    def env(self) -> dict[str, str]:
        """What :func:`seedbank.storage.s3.connect` reads."""
        return {
            "SEEDBANK_S3_ENDPOINT": self.endpoint,
            "SEEDBANK_S3_SECURE": "false",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }


@contextmanager
def gateway() -> Iterator[Gateway]:
    """Start a gateway with an empty store; it is stopped and its store removed at the end.

    Every run has a folder, a cluster id and ports of its own, which are claimed as long as it runs, so that several test runs may be under
    way on one machine. A start that fails all the same is tried again with other ports.

    Raises:
        NotToBeHad: the packages cannot be fetched, or the server does not start here.
    """
    root = _unpacked()
    for attempt in range(1, STARTS + 1):
        with ExitStack() as stack:
            state = Path(tempfile.mkdtemp(prefix="rgw-"))  # short: the path of a socket has at most 107 characters
            stack.callback(shutil.rmtree, state, ignore_errors=True)
            running: list[subprocess.Popen[bytes]] = []
            stack.callback(_stop, running)
            try:
                started = _start(root, state, running, stack)
            except NotToBeHad:
                if attempt == STARTS:
                    raise
                continue
            yield started
            return


def _stop(running: list[subprocess.Popen[bytes]]) -> None:
    """The gateway first, and wait for it: without a monitor it would ignore the signal."""
    for process in reversed(running):
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()


def _unpacked() -> Path:
    root = HOME / "root"
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            _fetch(HOME / "deb")
            fresh = HOME / "root.new"
            shutil.rmtree(fresh, ignore_errors=True)
            for package in sorted((HOME / "deb").glob("*.deb")):
                _run(["dpkg", "-x", str(package), str(fresh)])
            fresh.rename(root)
            shutil.rmtree(HOME / "deb")
    return root


def _fetch(folder: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise NotToBeHad("radosgw comes from Debian packages, and there is no apt-get here")
    for name in ("partial", "lists/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = [f"Dir::Cache::archives={folder}", f"Dir::State::lists={folder / 'lists'}", "Debug::NoLocking=1"]
    apt = ["apt-get", "-qq", *(part for option in options for part in ("-o", option))]
    _run([*apt, "update"])
    _run([*apt, "install", "--yes", "--download-only", "--no-install-recommends", *PACKAGES])


def _run(command: list[str], **more: object) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, timeout=START_S, **more)  # type: ignore[call-overload]
        return str(done.stdout.decode(errors="replace").strip())
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", b"") or b""
        raise NotToBeHad(f"{command[0]} failed: {error} {words.decode(errors='replace').strip()[-300:]}") from error


def _start(root: Path, state: Path, running: list[subprocess.Popen[bytes]], claims: ExitStack) -> Gateway:
    lib = root / "usr/lib/x86_64-linux-gnu"
    mon, http = claim_port(claims), claim_port(claims)
    fsid, conf = str(uuid.uuid4()), state / "ceph.conf"
    for name in ("mon", "osd", "rgw", "crash"):
        (state / name).mkdir()
    conf.write_text(CONF.format(fsid=fsid, mon=mon, http=http, state=state, lib=lib))
    env = {
        "PATH": f"{root / 'usr/bin'}:{os.defpath}",
        "LD_LIBRARY_PATH": f"{lib}:{root / 'lib/x86_64-linux-gnu'}:{lib / 'ceph'}",
        "PYTHONPATH": str(root / "usr/lib/python3/dist-packages"),
        "CEPH_CONF": str(conf),
        "HOME": str(state),
    }

    def once(*command: str) -> None:
        _run([str(root / "usr/bin" / command[0]), *command[1:]], env=env)

    def daemon(*command: str) -> None:
        out = (state / f"{command[0]}.out").open("wb")
        # Should the tests themselves be killed, the kernel takes the daemons with them.
        tied = ["setpriv", "--pdeathsig", "KILL", str(root / "usr/bin" / command[0]), *command[1:], "-f"]
        running.append(subprocess.Popen(tied, env=env, stdout=out, stderr=out))

    osd = str(uuid.uuid4())
    once("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v1:127.0.0.1:{mon}]", str(state / "monmap"))
    once("ceph-mon", "-i", "a", "--mkfs", "--monmap", str(state / "monmap"), "--mon-data", str(state / "mon"))
    daemon("ceph-mon", "-i", "a")
    once("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "--no-mon-config")
    ceph = ["/usr/bin/python3", str(root / "usr/bin/ceph"), "--connect-timeout", "60"]
    met = _run([*ceph, "fsid"], env=env)
    if met != fsid:
        raise NotToBeHad(f"the gateway met a foreign monitor: expected cluster {fsid}, got {met}")
    _run([*ceph, "osd", "new", osd], env=env)
    daemon("ceph-osd", "-i", "0")
    daemon("radosgw", "-n", "client.rgw")
    _await(f"http://127.0.0.1:{http}/", running, state)
    once(
        "radosgw-admin",
        "user",
        "create",
        "--uid=tests",
        "--display-name=tests",
        f"--access-key={ACCESS_KEY}",
        f"--secret-key={SECRET_KEY}",
    )
    return Gateway(f"127.0.0.1:{http}")


def _await(url: str, running: list[subprocess.Popen[bytes]], state: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):
            httpx.get(url, timeout=5)
            return
        if any(process.poll() is not None for process in running):
            break
        time.sleep(0.3)
    said = " ".join(path.read_text(errors="replace")[-200:] for path in sorted(state.glob("*.out")))
    raise NotToBeHad(f"radosgw did not come up: {said}")


def claim_port(claims: ExitStack) -> int:
    """A free port that no other run of these tests takes while ``claims`` is open.

    From below the range that the kernel gives to outgoing connections: one of those could take it between now and the server's start.
    """
    folder = Path(tempfile.gettempdir()) / f"seedbank-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in random.SystemRandom().sample(range(20_000, 30_000), 200):
        claim = claims.enter_context((folder / str(port)).open("w"))
        with suppress(OSError), socket.socket() as listener:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            listener.bind(("127.0.0.1", port))
            return port
    raise NotToBeHad("no free port between 20000 and 30000")
