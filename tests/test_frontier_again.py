"""A worker's side of another start for a request that was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from crawlers.frontier.leases import Lease
from crawlers.frontier.sending import NotLeased
from crawlers.refusals import DomainShut
from tests.frontier_crawl import Crawl, Site, servers
from tests.polling import eventually
from tests.servers.redis import RedisServer
from tests.servers.tcp_proxy import TcpProxy

DELAY = 0.2


def run(url: str, story: Callable[[Crawl, Lease], Awaitable[None]]) -> None:
    """Let `story` happen to a worker that has sent page 0, and does not settle it."""

    async def tell() -> None:
        options = {"delay": round(DELAY * 1000)}
        async with Crawl(servers(REDIS_URL=url), Site(1), options=options) as crawl:
            worker = await crawl.worker(held=True)
            await crawl.seed(worker)
            await eventually(lambda: worker.busy, "page 0 is not leased")
            [lease] = worker.frontier.held.values()
            await story(crawl, lease)

    asyncio.run(tell())


def test_it_starts_a_delay_later(redis_server: RedisServer) -> None:
    async def story(crawl: Crawl, lease: Lease) -> None:
        first = lease.start_at
        await crawl.workers[0].frontier.start_again(lease)
        assert lease.start_at >= first + 0.9 * DELAY
        assert asyncio.get_running_loop().time() >= lease.start_at - crawl.workers[0].frontier.early - 0.01

    run(redis_server.url, story)


def test_an_answer_that_is_lost_on_its_way_is_asked_for_again(redis_server: RedisServer) -> None:
    with TcpProxy(redis_server.port) as network:

        async def story(crawl: Crawl, lease: Lease) -> None:
            worker = crawl.workers[0]
            await eventually(lambda: worker.frontier.quiet, "not all is told")
            network.lose_next_answer()
            await worker.frontier.start_again(lease)
            worker.frontier.began(lease)
            await eventually(lambda: worker.frontier.quiet, "not all is told")
            with redis_server.client() as client:
                assert not client.hexists(f"{crawl.keys.shard(0)}:domain:{lease.domain}", "u")

        run(network.url, story)


def test_a_lease_that_is_lost_meanwhile_has_none(redis_server: RedisServer) -> None:
    async def story(crawl: Crawl, lease: Lease) -> None:
        with redis_server.client() as client:
            client.hdel(f"{crawl.keys.crawl(0, crawl.name)}:leases", lease.id)
        with pytest.raises(NotLeased):
            await crawl.workers[0].frontier.start_again(lease)

    run(redis_server.url, story)


def test_a_domain_that_wants_to_be_left_alone_is(redis_server: RedisServer) -> None:
    async def story(crawl: Crawl, lease: Lease) -> None:
        frontier = crawl.workers[0].frontier
        frontier.ended(lease, 0.1, verdict=2, retry_after=30.0)
        with pytest.raises(DomainShut) as shut:
            await frontier.start_again(lease)
        assert 25 < shut.value.wait <= 30

    run(redis_server.url, story)
