"""A cheap HTTP server on many loopback addresses: each is a domain, whose pages link on without end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from bench.page_server import Connection, answer, serving

_BODY = b"<html><head><title>Shop</title></head><body><a href='/p/%d'>a</a><a href='/p/%d'>b</a></body></html>"


class Web:
    """The addresses that it answers at, and when each was asked."""

    def __init__(self, domains: int, port: int):
        self.domains = [f"127.1.{n // 250}.{n % 250 + 1}:{port}" for n in range(domains)]
        self.asked: dict[str, list[float]] = {domain: [] for domain in self.domains}
        """Per domain, the moments of its requests, on the monotonic clock."""

    async def listen(self) -> list[asyncio.Server]:
        loop = asyncio.get_running_loop()
        servers = []
        for domain in self.domains:
            host, _, port = domain.partition(":")
            answering = partial(_answer, self.asked[domain])
            servers.append(await loop.create_server(partial(Connection, answering), host, int(port)))
        return servers


def _answer(asked: list[float], path: bytes, transport: asyncio.Transport) -> None:
    asked.append(time.monotonic())
    number = path.rpartition(b"/")[2]
    page = int(number) if number.isdigit() else 0
    answer(transport, _BODY % (2 * page + 1, 2 * page + 2))


@contextmanager
def running_web(domains: int) -> Iterator[Web]:
    """The server in a thread of its own."""
    with socket.create_server(("127.1.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    web = Web(domains, port)
    with serving(web.listen):
        yield web
