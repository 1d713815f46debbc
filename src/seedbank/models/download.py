"""One file from a hub onto the disk: begun again where it stopped, and kept only if its digest is what the hub says.

The hub's own client begins a file anew after a kill, which at ten gigabytes a file nobody can afford. So files are streamed here, through
the client's session: its proxies, certificates, tokens and offline switch hold.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seedbank.errors import OutsideError, VerificationError

TRIES = 5
"""How often in a row a connection may break without a single new byte."""


@dataclass(frozen=True)
class Offered:
    """What a hub says of one file.

    Attributes:
        size: in bytes.
        digest: SHA-256 of a large file; of a small one Git's name for its content (SHA-1 over a header and the bytes).
    """

    size: int
    digest: str


def download(url: str, target: Path, offered: Offered, *, advanced: Callable[[int], object]) -> None:
    """Write what ``url`` serves to ``target``; ``advanced`` is told how many bytes of it are there, whenever that changes.

    What an earlier call left unfinished is gone on from.

    Raises:
        VerificationError: the bytes are not those that were offered; they are removed.
        httpx2.HTTPError: the hub refuses, or cannot be reached.
    """
    partial = partial_of(target, offered)
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()
    broken = 0
    while (there := partial.stat().st_size) < offered.size:
        try:
            _append(url, partial, advanced)
        except Exception as error:
            if not _passing(error):
                raise
            broken = 0 if partial.stat().st_size > there else broken + 1
            if broken == TRIES:
                raise
            time.sleep(0.5 * 2**broken)
    settle(partial, target, offered)


def partial_of(target: Path, offered: Offered) -> Path:
    """Where the unfinished file lies; its name holds the digest, so that another version is not gone on from."""
    return target.with_name(f"{target.name}.{offered.digest[:12]}.part")


def borrow(found: Path, target: Path, offered: Offered) -> bool:
    """Take ``found``, which was fetched for something else, as ``target``, without a copy where the disk allows; False if it differs."""
    if not found.is_file() or found.stat().st_size != offered.size:
        return False
    partial = partial_of(target, offered)
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    try:
        partial.hardlink_to(found.resolve())
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(found, partial)
    try:
        settle(partial, target, offered)
    except VerificationError:
        return False
    return True


def settle(partial: Path, target: Path, offered: Offered) -> None:
    """``partial`` becomes ``target``, or is removed and refused with a VerificationError if it is not what was ``offered``."""
    found = _digest(partial, offered)
    if found != offered.digest:
        partial.unlink()
        raise VerificationError(
            f"{target.name} is not what the hub says it is: expected the digest {offered.digest}, got {found}; the file was removed. "
            "Fetch again; if it happens twice, the server in HF_ENDPOINT serves other bytes, so name another one"
        )
    partial.replace(target)


def check_space(folder: Path, needed: int) -> None:
    """Raises an OutsideError if the disk of ``folder`` has no room for ``needed`` bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutsideError(
            f"expected {needed / 1e9:.1f} GB of room in {folder}, got {free / 1e9:.1f} GB; make room, or set HF_HOME to another folder"
        )


def _append(url: str, partial: Path, advanced: Callable[[int], object]) -> None:
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    there = partial.stat().st_size
    # As it is stored: a compressed answer could not be gone on from, nor counted.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        hf_raise_for_status(response)
        # A server that knows no ranges sends everything again.
        with partial.open("ab" if response.status_code == 206 else "wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                advanced(file.tell())


def _passing(error: Exception) -> bool:
    """Whether the same request may do better in a moment."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, httpx2.TransportError)


def _digest(path: Path, offered: Offered) -> str:
    with path.open("rb") as file:
        if len(offered.digest) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest()
        header = f"blob {path.stat().st_size}\0".encode()
        return hashlib.sha1(header + file.read(), usedforsecurity=False).hexdigest()
