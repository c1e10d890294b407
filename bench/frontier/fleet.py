"""A worker of the frontier without a crawler: it enqueues, leases and settles as fast as Redis takes it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from bench.frontier.server import Server
from crawlers.frontier.connection import Servers
from crawlers.frontier.crawls import Crawls, Definition
from crawlers.frontier.frontier import Frontier
from crawlers.frontier.keys import Keys
from crawlers.frontier.leases import NewRequest
from crawlers.frontier.options import FrontierOptions

KEYS = Keys("seine", "bench")
CONNECTION = {"protocol": 2, "socket_timeout": 120.0}
"""Of redis-py. A bench that measures holds its event loop up, and has no use for a time limit."""
_BACKLOG = 8000
QUICK = FrontierOptions(concurrency=1_000_000, batch=1000, linger=0.0, prefetch=2000, per_domain=1000)
"""Larger batches than a worker's: what is measured with them is what is left in Redis."""


@asynccontextmanager
async def worker(
    server: Server, options: FrontierOptions = QUICK, source: str = "bench", *, leases: bool = True
) -> AsyncIterator[Frontier]:
    """A worker of the crawl of `source`, which is opened where it is not there."""
    servers = Servers(CONNECTION, server.url, "", "", cluster=False)
    crawls = Crawls(KEYS, [await servers.connect(KEYS.shard(0))])
    crawl, _ = await crawls.open(Definition(source=source))
    frontier = Frontier(servers, KEYS, crawl, options)
    frontier.draining = not leases
    await frontier.open([await servers.connect(KEYS.shard(0))])
    try:
        yield frontier
    finally:
        await frontier.close(10)
        await crawls.close()


async def enqueue(frontier: Frontier, requests: Iterable[NewRequest]) -> None:
    """Until Redis has confirmed all of them."""
    for request in requests:
        frontier.enqueue(request)
        while frontier.backlog >= _BACKLOG:
            await frontier.changed(1)
    while frontier.backlog:
        await frontier.changed(1)


async def deliver(frontier: Frontier, number: int) -> None:
    """Until `number` requests were leased and settled, and Redis has confirmed it."""
    while number:
        if (lease := frontier.take()) is None:
            await frontier.changed(1)
            continue
        lease.started = True
        frontier.ended(lease, 0.1)
        frontier.settle(lease, "delivered")
        number -= 1
    while frontier.held:
        await frontier.changed(1)


def new_request(number: int, domain: str, data: bytes = b"", limit: int = 0) -> NewRequest:
    """The request that `number` names. With `limit` 1 the second of a crawl and all after it only become known."""
    fingerprint = hashlib.sha1(b"%d" % number, usedforsecurity=False).digest()[:8]
    decimal = str(int.from_bytes(fingerprint, "big", signed=True))
    return NewRequest(fingerprint, decimal, domain, 0, data, 0, "site" if limit else "", limit)
