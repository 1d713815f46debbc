"""Builds ``.venv`` from ``constraints.txt``, with the standard library alone. Running it again does nothing until an input changes.

``uv`` installs, because it takes seconds where pip takes minutes; pip is the fallback, because it honours index settings (extra indexes,
credentials in a configuration file) that uv does not read. Where ``PIP_FIND_LINKS`` names a folder of wheels, both look there first,
which is how a CPU build of torch is preferred to the much larger one on PyPI.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".ready"
INPUTS = ("pyproject.toml", "constraints.txt", "scripts/set_up.py")
UV = "uv==0.13.9"
NEEDED_GIB = 5
"""Free disk: 1.8 GiB with a CPU torch, and uv's cache beside it."""


class SetUpError(Exception):
    """Set-up cannot go on; the message says what to do."""


def main() -> int:
    """Set up unless it is done already; the exit code is 0, or 3 if something outside failed."""
    digest = input_digest()
    if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == digest and environment_works():
        return 0
    start = time.monotonic()
    try:
        set_up()
    except SetUpError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("set-up: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    STAMP.write_text(digest, encoding="utf-8")
    say(f"done in {time.monotonic() - start:.0f} s; '.venv/bin/seedbank --help' lists the commands")
    return 0


def set_up() -> None:
    """Make the environment, put an installer into it, install."""
    check_disk()
    STAMP.unlink(missing_ok=True)
    version = ".".join(map(str, sys.version_info[:3]))
    say(f"1/3 environment in .venv with Python {version}")
    make_environment()
    say("2/3 installer")
    uv = have_uv()
    say("3/3 packages of constraints.txt (about 230; Airflow, MLflow, torch, ...)")
    if not (uv and run(uv_command())) and not run(pip_command()):
        raise SetUpError(
            "expected to install the packages, but the installer failed (its last lines are above); "
            "check the network or PIP_INDEX_URL and run the same command again, it goes on from here"
        )


def input_digest() -> str:
    """Digest of what the environment is made from, this interpreter and this place included."""
    parts = [f"{sys.version_info[:2]} {ROOT}".encode(), *((ROOT / name).read_bytes() for name in INPUTS)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def environment_works() -> bool:
    """Whether the environment's interpreter is still there (the one it was made from may have been upgraded away)."""
    try:
        return subprocess.run([python(), "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make_environment() -> None:
    """Create ``.venv`` afresh unless it already holds this Python version and a pip."""
    if not has_pip():
        shutil.rmtree(VENV, ignore_errors=True)
        with_pip = importlib.util.find_spec("ensurepip") is not None
        try:
            venv.EnvBuilder(with_pip=with_pip, symlinks=True).create(VENV)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SetUpError(f"could not make {VENV}: {error}") from error
        if not with_pip:
            fetch_pip()


def has_pip() -> bool:
    """Whether ``.venv`` is usable as it stands."""
    check = f"import pip, sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    try:
        return subprocess.run([python(), "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def fetch_pip() -> None:
    """Install pip from the package index: Debian's Python comes without ``ensurepip`` (its package python3-venv)."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    try:
        page = urllib.request.urlopen(index, timeout=60).read().decode()
        links = re.findall(r'href="([^"]+/(pip-[\d.]+-py3-none-any\.whl)#sha256=([0-9a-f]{64}))"', page)
        link, name, wanted = max(links, key=lambda found: [int(part) for part in found[1].split("-")[1].split(".")])
        wheel = urllib.request.urlopen(urllib.parse.urljoin(index, link), timeout=120).read()
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise SetUpError(
            "this Python has no 'ensurepip' and pip could not be fetched either "
            f"({error}); on Debian: 'apt install python3-venv', then run the same command again"
        ) from error
    if hashlib.sha256(wheel).hexdigest() != wanted:
        raise SetUpError(f"expected {name} with SHA-256 {wanted}, got another file; try again")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(wheel)
        if not run([python(), str(path / "pip"), "install", "--quiet", "--no-index", str(path)]):
            raise SetUpError("pip could not install itself; on Debian: 'apt install python3-venv', then try again")


def have_uv() -> bool:
    """Whether uv could be put beside pip; without it pip does the work."""
    return run([python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV])


def uv_command() -> list[str]:
    """How uv installs; it does not read pip's settings, so the wheel folder is passed on."""
    links = os.environ.get("PIP_FIND_LINKS", "").split()
    found = [part for link in links for part in ("--find-links", link)]
    index = os.environ.get("PIP_INDEX_URL")
    where = ["--default-index", index] if index else []
    constraints = ["--constraints", "constraints.txt", "--build-constraints", "constraints.txt"]
    return [
        str(VENV / "bin" / "uv"),
        "pip",
        "install",
        "--python",
        python(),
        *found,
        *where,
        *constraints,
        "-e",
        ".[all,dev]",
    ]


def pip_command() -> list[str]:
    """How pip installs; slower, and it reads its own settings."""
    return [
        python(),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "-c",
        "constraints.txt",
        "-e",
        ".[all,dev]",
    ]


def check_disk() -> None:
    """Say at once that the disk is too small instead of failing in the middle."""
    free = shutil.disk_usage(ROOT).free / 2**30
    if free < NEEDED_GIB and not STAMP.exists():
        raise SetUpError(f"expected {NEEDED_GIB} GiB of free disk for the environment, got {free:.1f} in {ROOT}")


def python() -> str:
    """The environment's interpreter."""
    return str(VENV / "bin" / "python")


def run(command: list[str]) -> bool:
    """Run and let the person see it; whether it went well."""
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def say(line: str) -> None:
    """One line of progress."""
    print(f"set-up: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
