"""A cheap HTTP server on many loopback addresses: each is a domain, whose pages link on without end."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

_BODY = b"<html><head><title>Shop</title></head><body><a href='/p/%d'>a</a><a href='/p/%d'>b</a></body></html>"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n"


class Web:
    """The addresses that it answers at, and when each was asked."""

    def __init__(self, domains: int, port: int):
        self.domains = [f"127.1.{n // 250}.{n % 250 + 1}:{port}" for n in range(domains)]
        self.asked: dict[str, list[float]] = {domain: [] for domain in self.domains}
        """Per domain, the moments of its requests, on the monotonic clock."""

    async def serve(self, ready: threading.Event, closing: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        servers = []
        for domain in self.domains:
            host, _, port = domain.partition(":")
            servers.append(await loop.create_server(partial(_Answers, self.asked[domain]), host, int(port)))
        ready.set()
        await closing.wait()
        for server in servers:
            server.close()


class _Answers(asyncio.Protocol):
    """Answers one request after the other, as a client without pipelining sends them."""

    def __init__(self, asked: list[float]):
        self._asked = asked
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        self._asked.append(time.monotonic())
        path = self._received.split(b" ", 2)[1]
        number = path.rpartition(b"/")[2]
        page = int(number) if number.isdigit() else 0
        body = _BODY % (2 * page + 1, 2 * page + 2)
        self._received = b""
        self._transport.write(_HEAD % len(body) + body)


@contextmanager
def running_web(domains: int) -> Iterator[Web]:
    """The server in a thread of its own."""
    with socket.create_server(("127.1.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    web, loop = Web(domains, port), asyncio.new_event_loop()
    ready, closing = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(web.serve(ready, closing)), daemon=True)
    thread.start()
    try:
        if not ready.wait(10):
            raise SystemExit("the web server of the bench does not start")
        yield web
    finally:
        loop.call_soon_threadsafe(closing.set)
        thread.join(10)
