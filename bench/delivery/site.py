"""A server of product pages whose sku is the moment at which the page was answered, at a rate that can be set."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from bench.delivery.pages import LOCALE, product_pages

HOST = "127.0.0.1"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n"


class Site:
    """Answers at once, or, with a rate, at random moments (a Poisson process) at which whoever came first is served."""

    def __init__(self, rate: float | None):
        self._rate = rate
        self._waiting: deque[asyncio.Transport] = deque()
        self._came = asyncio.Event()
        self._parts: list[list[bytes]] = []
        self._number = 0
        self.url = ""

    async def serve(self, ready: threading.Event, closing: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), HOST, 0)
        self.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
        self._parts = [page.encode().split(sku.encode()) for sku, page in product_pages(self.url)]
        answering = loop.create_task(self._answer_in_time()) if self._rate else None
        ready.set()
        await closing.wait()
        if answering is not None:
            answering.cancel()
        server.close()

    def asked(self, transport: asyncio.Transport) -> None:
        """A request has come."""
        if self._rate is None:
            self._answer(transport)
        else:
            self._waiting.append(transport)
            self._came.set()

    async def _answer_in_time(self) -> None:
        moments = random.Random(0)
        assert self._rate is not None
        due = time.monotonic()
        while True:
            if not self._waiting:
                self._came.clear()
                await self._came.wait()
                due = time.monotonic()
            await asyncio.sleep(due - time.monotonic())
            self._answer(self._waiting.popleft())
            due += moments.expovariate(self._rate)

    def _answer(self, transport: asyncio.Transport) -> None:
        self._number += 1
        parts = self._parts[self._number % len(self._parts)]
        body = (b"%d" % time.monotonic_ns()).join(parts)
        transport.write(_HEAD % len(body) + body)


class _Connection(asyncio.Protocol):
    """One request after the other, as a client without pipelining sends them."""

    def __init__(self, site: Site):
        self._site = site
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.endswith(b"\r\n\r\n"):
            self._received = b""
            self._site.asked(self._transport)


@contextmanager
def running_site(rate: float | None = None) -> Iterator[Site]:
    """The server in a thread of its own, with `rate` pages per second at most."""
    loop = asyncio.new_event_loop()
    site, ready, closing = Site(rate), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(site.serve(ready, closing)), daemon=True)
    thread.start()
    try:
        if not ready.wait(30):
            raise SystemExit("the site of the bench does not start")
        yield site
    finally:
        loop.call_soon_threadsafe(closing.set)
        thread.join(10)


def site_toml(site: Site) -> str:
    """Its file for SITES_DIR."""
    domain = site.url.removeprefix("http://")
    return (
        f'name = "bench"\ndomains = ["{domain}"]\nseeds = ["{site.url}/p/0"]\nidentity = "sku"\nlocale = "{LOCALE}"\n'
        'private_networks = ["127.0.0.0/8"]\n'
        "[limits]\ndelay = 0.0\nconcurrency = 64\n"
    )
