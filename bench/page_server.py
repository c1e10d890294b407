"""A cheap HTTP server of pages, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

HOST = "127.0.0.1"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
_SECONDS_TO_START = 30.0
_SECONDS_TO_END = 10.0


class Connection(asyncio.Protocol):
    """Tells of one request after the other, as a client without pipelining sends them: (path, where it is answered)."""

    def __init__(self, asked: Callable[[bytes, asyncio.Transport], None]):
        self._asked = asked
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        path = self._received.split(b" ", 2)[1]
        self._received = b""
        self._asked(path, self._transport)


def answer(transport: asyncio.Transport, body: bytes) -> None:
    """With the page."""
    transport.write(_HEAD % len(body) + body)


def url_of(server: asyncio.Server) -> str:
    """Of one that listens at one port of HOST."""
    return f"http://{HOST}:{server.sockets[0].getsockname()[1]}"


@contextmanager
def serving(listen: Callable[[], Coroutine[Any, Any, list[asyncio.Server]]]) -> Iterator[None]:
    """The servers that `listen` returns; what it has begun beside them ends with them."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers = asyncio.run_coroutine_threadsafe(listen(), loop).result(_SECONDS_TO_START)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_end(servers), loop).result(_SECONDS_TO_END)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SECONDS_TO_END)
        loop.close()


async def _end(servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
