"""When a request counts as settled: after what it must wait for, once, and not before its links are safe."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest

from crawlers.frontier.connection import Connection, Servers
from crawlers.frontier.control import Control
from crawlers.frontier.crawls import Definition, Totals
from crawlers.frontier.frontier import Frontier
from crawlers.frontier.keys import Keys
from crawlers.frontier.leases import Lease
from crawlers.frontier.options import FrontierOptions
from crawlers.frontier.scripts import run
from tests.frontier_shard import page
from tests.polling import eventually
from tests.servers.redis import RedisServer


class Scene:
    """A worker that holds a lease."""

    def __init__(
        self, frontier: Frontier, lease: Lease, totals: Callable[[], Awaitable[Totals]], connection: Connection
    ):
        self.frontier = frontier
        self.lease = lease
        self.totals = totals
        self.connection = connection
        """An operator's."""


@asynccontextmanager
async def scene(server: RedisServer, **options: Any) -> AsyncIterator[Scene]:
    servers = Servers({"protocol": 2, "socket_timeout": 5}, server.url, "", "", cluster=False)
    keys = Keys(f"test-{secrets.token_hex(4)}", "spider")
    control = Control(servers, keys)
    crawls = await control.open()
    crawl, _ = await crawls.open(Definition(source="test"))
    frontier = Frontier(servers, keys, crawl, FrontierOptions(**options))
    await frontier.open(await control.connect())
    frontier.enqueue(page(0, seed=1))
    [lease] = await leased(frontier)
    try:
        [connection] = await control.connect()
        yield Scene(frontier, lease, lambda: crawls.totals(crawl), connection)
        await connection.close()
    finally:
        await frontier.close(5)
        await control.close()


async def leased(frontier: Frontier) -> list[Lease]:
    found: list[Lease] = []

    def take() -> bool:
        if lease := frontier.take():
            found.append(lease)
        return bool(found)

    await eventually(take, "nothing is leased")
    return found


def test_a_request_is_settled_after_what_it_waits_for(redis_server: RedisServer) -> None:
    async def story() -> None:
        async with scene(redis_server) as now:
            confirmed = asyncio.get_running_loop().create_future()
            now.frontier.settle(now.lease, "delivered", after=confirmed)
            for _ in range(3):
                await now.frontier.changed(0.05)
            assert (await now.totals()).leased == 1
            assert not now.frontier.quiet
            confirmed.set_result(None)
            await eventually(lambda: now.frontier.quiet, "it is not settled")
            totals = await now.totals()
            assert (totals.term("delivered"), totals.open, totals.balanced) == (1, 0, True)

    asyncio.run(story())


def test_a_request_whose_confirmation_fails_goes_back(redis_server: RedisServer) -> None:
    async def story() -> None:
        async with scene(redis_server) as now:
            refused = asyncio.get_running_loop().create_future()
            now.frontier.settle(now.lease, "delivered", after=refused)
            refused.set_exception(RuntimeError("the transaction was aborted"))
            [again] = await leased(now.frontier)
            assert (again.id, again.attempts) == (now.lease.id, 0)
            assert (await now.totals()).term("delivered") == 0

    asyncio.run(story())


def test_a_request_is_settled_once(redis_server: RedisServer) -> None:
    async def story() -> None:
        async with scene(redis_server) as now:
            now.frontier.settle(now.lease, "empty")
            with pytest.raises(ValueError, match="settled twice"):
                now.frontier.settle(now.lease, "delivered")
            await eventually(lambda: now.frontier.quiet, "it is not settled")
            totals = await now.totals()
            assert (totals.term("empty"), totals.term("delivered")) == (1, 0)

    asyncio.run(story())


def test_a_request_waits_for_its_links_to_be_in_redis(redis_server: RedisServer) -> None:
    """Of one batch, the links are written first: a page is never settled without them."""

    async def story() -> None:
        async with scene(redis_server, batch=100, linger=0.05) as now:
            for number in range(1, 1001):
                now.frontier.enqueue(page(number), now.lease, f"http://shop.example/{number}")
            now.frontier.settle(now.lease, "expanded")
            seen = []
            while not now.frontier.quiet:
                await now.frontier.changed(1)
                totals = await now.totals()
                seen.append((totals.term("discovered"), totals.term("expanded")))
            assert all(links == 1000 for links, settled in seen if settled)
            assert any(0 < links < 1000 for links, _ in seen)
            assert now.frontier.is_known("http://shop.example/7")
            assert not now.frontier.is_known("http://shop.example/1001")

    asyncio.run(story())


def test_what_was_leased_before_redis_heard_of_a_retry_after_goes_back(redis_server: RedisServer) -> None:
    async def story() -> None:
        async with scene(redis_server) as now:
            now.frontier.enqueue(page(1), now.lease)
            [on_its_way] = await leased(now.frontier)
            now.frontier.ended(now.lease, 0.1, 2, 1.0)
            told_at = monotonic()
            now.frontier.add(on_its_way)
            assert now.frontier.take() is None
            [again] = await leased(now.frontier)
            assert again.id == on_its_way.id
            assert again is not on_its_way
            assert monotonic() - told_at >= 0.99

    asyncio.run(story())


def test_a_domain_is_left_alone_no_longer_than_redis_says(redis_server: RedisServer) -> None:
    """An operator forgets its Retry-After of an hour: it is leased at once."""

    async def story() -> None:
        async with scene(redis_server) as now:
            now.frontier.enqueue(page(1), now.lease)
            now.frontier.settle(now.lease, "expanded")
            now.frontier.ended(now.lease, 0.1, 2, 3600.0)
            await eventually(lambda: now.frontier.quiet, "Redis has not heard")
            assert now.frontier.take() is None
            root = now.frontier.keys.crawl(0, now.frontier.crawl)
            await now.connection.one(*run("forget", now.frontier.keys.shard(0), root, now.lease.domain))
            assert await leased(now.frontier)

    asyncio.run(story())
