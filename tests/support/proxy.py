"""A small HTTP proxy between a client and a real server that misbehaves on order: it throttles, and it cuts connections."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

When = Literal["asked", "answered"]
Mischief = Literal["throttle", "cut before", "cut in the middle", "lose the answer"]
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
SKIPPED = {"connection", "transfer-encoding", "keep-alive"}


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        endpoint: where clients reach it, ``host:port``.
        orders: what to do to the next requests, in order; then it behaves.
        only: the method that is meant; others pass.
        every: how many of those requests there are for each order; the others pass.
        seen: method and path of every request, in order.
        watch: called with ``"asked"`` before a request is passed on and ``"answered"`` before its answer is, with the number of all seen.
    """

    endpoint: str = ""
    orders: list[Mischief] = field(default_factory=list)
    only: str = ""
    every: int = 1
    seen: list[tuple[str, str]] = field(default_factory=list)
    watch: Callable[[When, int], object] = lambda _when, _number: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_order(self, method: str, path: str) -> Mischief | None:
        """What to do to this request."""
        with self.lock:
            self.seen.append((method, path.partition("?")[0]))
            meant = [found for found, _ in self.seen if self.only in {"", found}]
            due = self.only in {"", method} and len(meant) % self.every == 0
            return self.orders.pop(0) if self.orders and due else None


@contextmanager
def proxy(server: str) -> Iterator[Proxy]:
    """A proxy in front of ``server`` (``host:port``)."""
    state = Proxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            order = state.next_order(self.command, self.path)
            state.watch("asked", len(state.seen))
            match order:
                case "throttle":
                    self.answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
                case "cut before":
                    self.cut()
                case _:
                    self.forward(body, order)

        def forward(self, body: bytes, order: Mischief | None) -> None:
            upstream = http.client.HTTPConnection(server, timeout=60)
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # the host too, for it is signed
                upstream.putheader(name, value)
            upstream.endheaders(body or None)
            reply = upstream.getresponse()
            data, headers = reply.read(), [item for item in reply.getheaders() if item[0].lower() not in SKIPPED]
            state.watch("answered", len(state.seen))
            if order == "lose the answer":
                self.cut()
            elif order == "cut in the middle":
                self.answer(reply.status, headers, data[: len(data) // 2], complete=len(data))
                self.cut()
            else:
                self.answer(reply.status, headers, data)
            upstream.close()

        def answer(self, status: int, headers: list[tuple[str, str]], data: bytes, complete: int | None = None) -> None:
            self.send_response_only(status)
            kept = next((value for name, value in headers if name.lower() == "content-length"), None)
            length = kept if self.command == "HEAD" and kept else str(len(data) if complete is None else complete)
            for name, value in headers:
                if name.lower() != "content-length":
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        def cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):  # the client may be gone already
                self.connection.shutdown(socket.SHUT_RDWR)

        def handle(self) -> None:
            with suppress(ConnectionError):
                super().handle()

        def log_message(self, *args: Any) -> None:
            """Nothing: a request may hold a signature."""

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = do_PATCH = pass_on  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        state.endpoint = f"127.0.0.1:{listening.server_address[1]}"
        try:
            yield state
        finally:
            listening.shutdown()
