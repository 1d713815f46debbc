"""A model hub on loopback: what the real client asks of one, and ways of going wrong on order."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Files = dict[str, bytes]
API = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/(?:revision|(?P<tree>tree))/(?P<revision>[^/?]+)")
FILE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>[^?]+)")
TOKEN = "hf_allowed"
"""The one token that opens gated repositories."""


def commit(number: int) -> str:
    """A 40-digit commit."""
    return hashlib.sha1(str(number).encode()).hexdigest()


def read_folder(folder: Path) -> Files:
    """The files of a folder, as a repository has them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class Hub:
    """A running hub.

    Attributes:
        endpoint: its address.
        repositories: by name, the files of each commit.
        branches: by repository and branch, a commit.
        gated: repositories that want :data:`TOKEN`.
        lies: bytes to send in place of those of a digest.
        held: digests of which it sends so many bytes and then waits for ``release``.
        cut: digests of which it sends so many bytes and then hangs up, once.
        claimed: sizes to list in place of the true ones, by file.
        listless: says no sizes and digests in its listing, as some mirrors do.
        seen: method, path and range of every request.
    """

    endpoint: str = ""
    repositories: dict[str, dict[str, Files]] = field(default_factory=dict)
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    lies: dict[str, bytes] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    claimed: dict[str, int] = field(default_factory=dict)
    listless: bool = False
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, files: Files, *, at: str = "", branch: str = "main") -> str:
        """A repository, or its next commit; gives ``name@commit``."""
        known = self.repositories.setdefault(name, {})
        at = at or commit(len(known))
        known[at] = files
        self.branches[name, branch] = at
        return f"{name}@{at}"

    def asked_for(self, method: str = "GET") -> list[str]:
        """The files that were asked for, in order."""
        return [match["file"] for how, path, _ in self.seen if how == method and (match := FILE.fullmatch(path))]


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub with no repository in it."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.seen.append((self.command, self.path.partition("?")[0], self.headers.get("Range", "")))
            with suppress(BrokenPipeError, ConnectionResetError):
                _answer(self, state)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.release.set()
        server.shutdown()
        server.server_close()


def _answer(request: BaseHTTPRequestHandler, state: Hub) -> None:
    path = unquote(request.path.partition("?")[0])
    if path.startswith("/blobs/"):
        return _send_blob(request, state, path.removeprefix("/blobs/"))
    match = API.fullmatch(path) or FILE.fullmatch(path)
    if not match or match["name"] not in state.repositories:
        return _refuse(request, HTTPStatus.UNAUTHORIZED, "RepoNotFound")
    commits = state.repositories[match["name"]]
    at = state.branches.get((match["name"], match["revision"]), match["revision"])
    if at not in commits:
        return _refuse(request, HTTPStatus.NOT_FOUND, "RevisionNotFound")
    if match.re is API:
        listing = _tree(commits[at]) if match["tree"] else _listing(match["name"], at, commits[at], state)
        return _send(request, json.dumps(listing).encode())
    if match["name"] in state.gated and request.headers.get("Authorization") != f"Bearer {TOKEN}":
        status = HTTPStatus.FORBIDDEN if request.headers.get("Authorization") else HTTPStatus.UNAUTHORIZED
        return _refuse(request, status, "GatedRepo")
    if match["file"] not in commits[at]:
        return _refuse(request, HTTPStatus.NOT_FOUND, "EntryNotFound")
    return _send_file(request, match["file"], commits[at][match["file"]], at)


def _listing(name: str, at: str, files: Files, state: Hub) -> dict[str, Any]:
    siblings = []
    for file, content in files.items():
        known: dict[str, Any] = {"rfilename": file}
        if not state.listless:
            known |= {"size": state.claimed.get(file, len(content)), "blobId": _git(content)}
            if _large(file):
                known["lfs"] = {"sha256": _sha256(content), "size": len(content), "pointerSize": 130}
        siblings.append(known)
    return {"id": name, "sha": at, "siblings": siblings, "tags": [], "private": False, "downloads": 0}


def _tree(files: Files) -> list[dict[str, Any]]:
    """As other programs ask for it."""
    return [
        {"type": "file", "path": name, "size": len(content), "oid": _git(content)}
        | ({"lfs": {"oid": _sha256(content), "size": len(content), "pointerSize": 130}} if _large(name) else {})
        for name, content in files.items()
    ]


def _send_file(request: BaseHTTPRequestHandler, name: str, content: bytes, at: str) -> None:
    if not _large(name):
        return _send(request, content, {"ETag": f'"{_git(content)}"', "X-Repo-Commit": at})
    digest = _sha256(content)
    # Large files lie elsewhere, and this says where and what to expect there.
    linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
    location = f"http://localhost:{request.server.server_port}/blobs/{digest}"  # type: ignore[attr-defined]
    return _send(request, b"", {"Location": location, "X-Repo-Commit": at, **linked}, HTTPStatus.FOUND)


def _send_blob(request: BaseHTTPRequestHandler, state: Hub, digest: str) -> None:
    known = {
        _sha256(c): c for commits in state.repositories.values() for files in commits.values() for c in files.values()
    }
    content = state.lies.get(digest, known[digest])
    start = int(match[1]) if (match := re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))) else 0
    request.send_response(HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK)
    request.send_header("Content-Length", str(len(content) - start))
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    request.end_headers()
    stop = state.held.get(digest) or state.cut.pop(digest, None)
    request.wfile.write(content[start:stop])
    if digest in state.held:
        request.wfile.flush()
        state.release.wait(30)
        request.wfile.write(content[stop:])
    request.close_connection = True


def _send(
    request: BaseHTTPRequestHandler, content: bytes, headers: dict[str, str] | None = None, status: int = HTTPStatus.OK
) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)


def _refuse(request: BaseHTTPRequestHandler, status: int, code: str) -> None:
    _send(request, b"", {"X-Error-Code": code}, status)


def _large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".ckpt"))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
