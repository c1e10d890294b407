"""A server of product pages whose sku is the moment at which the page was answered, at a rate that can be set."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from bench.delivery.pages import LOCALE, product_pages
from bench.page_server import HOST, Connection, answer, serving, url_of


class Site:
    """Answers at once, or, with a rate, at random moments (a Poisson process) at which whoever came first is served."""

    def __init__(self, rate: float | None):
        self._rate = rate
        self._waiting: deque[asyncio.Transport] = deque()
        self._came = asyncio.Event()
        self._parts: list[list[bytes]] = []
        self._number = 0
        self.url = ""

    async def listen(self) -> list[asyncio.Server]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self._asked), HOST, 0)
        self.url = url_of(server)
        self._parts = [page.encode().split(sku.encode()) for sku, page in product_pages(self.url)]
        if self._rate:
            self._answering = loop.create_task(self._answer_in_time())
        return [server]

    def _asked(self, _path: bytes, transport: asyncio.Transport) -> None:
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
        answer(transport, body)


@contextmanager
def running_site(rate: float | None = None) -> Iterator[Site]:
    """The server in a thread of its own, with `rate` pages per second at most."""
    site = Site(rate)
    with serving(site.listen):
        yield site


def site_toml(site: Site) -> str:
    """Its file for SITES_DIR."""
    domain = site.url.removeprefix("http://")
    return (
        f'name = "bench"\ndomains = ["{domain}"]\nseeds = ["{site.url}/p/0"]\nidentity = "sku"\nlocale = "{LOCALE}"\n'
        'private_networks = ["127.0.0.0/8"]\n'
        "[limits]\ndelay = 0.0\nconcurrency = 64\n"
    )
