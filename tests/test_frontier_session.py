"""A worker's side of a shard, to the letter: what it keeps, tells again and gives up when Redis answers badly."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from redis import Redis

from tests.fleet import FrontierSeine
from tests.frontier_crawl import Crawl, Site, Worker, away, servers
from tests.frontier_shard import unfiltered
from tests.polling import eventually
from tests.servers.redis import RedisServer, binaries, newest
from tests.servers.redis_sentinel import follow
from tests.servers.tcp_proxy import TcpProxy
from tests.servers.web import Page, WebServer
from tests.support import Seine

BINARIES = binaries()
PASSWORD = "correct-horse"


@pytest.fixture(scope="module", params=BINARIES)
def each_redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of each version that is here: they word their errors differently."""
    with RedisServer(tmp_path_factory.mktemp("redis"), BINARIES[request.param]) as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which keeps what it is told."""
    with RedisServer(
        tmp_path / "redis", newest(), appendonly="yes", appendfsync="always", repl_diskless_sync_delay=0
    ) as server:
        yield server


def run(crawl: Crawl, story: Callable[[Crawl, Worker], Awaitable[None]], *, held: bool = False) -> None:
    """Let `story` happen to a crawl with one worker, which has leased page 0 if it is held."""

    async def tell() -> None:
        async with crawl:
            worker = await crawl.worker(held=held)
            await crawl.seed(worker)
            if held:
                await eventually(lambda: worker.busy, "page 0 is not leased")
            await story(crawl, worker)

    asyncio.run(tell())


# --- Errors that Redis answers with


def forget_scripts(client: Redis) -> None:
    client.script_flush()


def become_a_replica(client: Redis) -> Callable[[], object]:
    client.replicaof("127.0.0.1", 1)
    return lambda: client.replicaof("NO", "ONE")


@pytest.mark.parametrize("happens", [forget_scripts, become_a_replica])
def test_an_error_that_says_nothing_about_a_batch_costs_nothing_of_it(
    each_redis: RedisServer, happens: Callable[[Redis], Callable[[], object] | None]
) -> None:
    with each_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "seine", "on", f">{PASSWORD}", "~*", "+@all")

        async def story(crawl: Crawl, worker: Worker) -> None:
            worker.latency = 0.01
            worker.go()
            await eventually(lambda: len(worker.fetched) > 50, "no crawl")
            mend = happens(client)
            assert crawl.fetched.total() < 400
            if mend is not None:
                try:
                    await eventually(away, "nobody noticed")
                finally:
                    mend()
            assert (await crawl.complete()).counts["delivered"] == 400

        url = each_redis.url.replace("//", f"//seine:{PASSWORD}@")
        run(Crawl(servers(REDIS_URL=url), Site(400)), story, held=True)


def test_a_full_redis_takes_what_is_settled_and_nothing_new(each_redis: RedisServer) -> None:
    """Pages 3 to 6 have no links, and page 100 has one."""

    async def story(crawl: Crawl, worker: Worker) -> None:
        worker.let_go()
        await eventually(lambda: worker.busy == 2, "pages 1 and 2 are not leased")
        worker.let_go()
        await eventually(lambda: worker.busy == 4, "pages 3 to 6 are not leased")
        with each_redis.client() as client:
            client.config_set("maxmemory", 1)
            worker.frontier.enqueue(crawl.site.request(100))
            worker.let_go()
            await eventually(lambda: worker.confirmed == set(range(7)), "what is settled is not taken")
            await eventually(lambda: away(), "nobody says that it is full")
            assert worker.frontier.backlog == 1
            client.config_set("maxmemory", 0)
        worker.go()
        assert (await crawl.complete()).counts["delivered"] == 8
        assert not away()

    run(Crawl(servers(REDIS_URL=each_redis.url), Site(7)), story, held=True)


def test_a_poisonous_request_is_taken_out_and_counted_and_costs_no_other(each_redis: RedisServer) -> None:
    async def story(crawl: Crawl, worker: Worker) -> None:
        for number in range(10, 20):
            worker.frontier.enqueue(crawl.site.request(number))
        worker.frontier.enqueue(crawl.site.request(20)._replace(id=b"short"))
        worker.frontier.enqueue(crawl.site.request(21))
        totals = await crawl.complete()
        assert totals.counts["delivered"] == 1 + 11
        assert totals.by_reason("filtered") == {"unstorable": 1}

    run(Crawl(servers(REDIS_URL=each_redis.url), Site(1)), story)


def test_an_end_that_redis_refuses_is_a_dead_letter(each_redis: RedisServer) -> None:
    async def story(crawl: Crawl, worker: Worker) -> None:
        [lease] = worker.frontier.held.values()
        worker.frontier.settle(lease, "no such outcome")
        worker.go()
        totals = await crawl.complete()
        assert totals.by_reason("dead") == {"refused by Redis": 1}

    run(Crawl(servers(REDIS_URL=each_redis.url), Site(1)), story, held=True)


# --- A Redis that went back in time


def test_links_that_redis_forgot_are_told_again_before_their_page_is_settled(redis: RedisServer) -> None:
    async def story(crawl: Crawl, worker: Worker) -> None:
        before = redis.log_of_writes.stat().st_size
        [lease] = worker.frontier.held.values()
        worker.frontier.enqueue(crawl.site.request(50), lease)
        await eventually(lambda: not worker.frontier.backlog, "its link is not confirmed")
        redis.kill_and_forget(before)
        worker.let_go()  # it is settled while Redis is away
        redis.start()
        await eventually(lambda: 0 in worker.confirmed, "page 0 is not settled")
        log = redis.log_of_writes.read_bytes()[before:]
        assert log.index(b"page 50") < log.index(b"delivered")
        worker.go()
        assert (await crawl.complete()).counts["delivered"] == 2

    run(Crawl(servers(REDIS_URL=redis.url), Site(1)), story, held=True)


def test_seeds_that_redis_forgot_are_sown_again(
    offline: Seine, redis: RedisServer, web: Callable[..., WebServer]
) -> None:
    """It goes back to where the crawl was open, and had no seeds yet."""
    may_answer = Event()
    site = web({"/item-0": lambda _: Page("x") if may_answer.wait(30) else Page()})
    env = {"REDIS_URL": redis.url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}"}
    fleet = FrontierSeine(offline.folder, {**offline.env, **env}, redis.client())
    options = fleet.options(FRONTIER_LEASE_SECONDS=2)
    worker = fleet.start("crawl", "path_spider", "-a", f"url={site.url}/item-0", *options)
    site.wait_for(1)
    seeded_at = redis.log_of_writes.read_bytes().index(b"$6\r\nseeded\r\n")
    redis.kill_and_forget(seeded_at)
    redis.start()
    may_answer.set()
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err[-2000:]
    fleet.redis = redis.client()
    [crawl] = fleet.redis.zrange(f"{fleet.keys.registry}:crawls", 0, -1)
    assert fleet.redis.hget(f"{fleet.keys.crawl(0, crawl.decode())}:counts", "delivered") == b"1"


def test_a_restart_makes_no_second_request_of_one_that_is_not_to_be_filtered(redis: RedisServer) -> None:
    """Links of open pages are told again after every restart, also where nothing was lost."""

    async def story(crawl: Crawl, worker: Worker) -> None:
        await crawl.set_state("paused")
        await eventually(lambda: worker.frontier.states == {"paused"}, "the worker does not know")
        [lease] = worker.frontier.held.values()
        worker.frontier.enqueue(unfiltered(50), lease)
        await eventually(lambda: not worker.frontier.backlog, "its link is not confirmed")
        redis.stop()
        redis.start()
        await eventually(lambda: worker.frontier.restarts and not worker.frontier.backlog, "nobody noticed")
        assert (await crawl.totals()).known == 2
        await crawl.set_state("running")
        worker.go()
        assert (await crawl.complete()).counts["delivered"] == 2
        assert worker.fetched[50] == 1

    run(Crawl(servers(REDIS_URL=redis.url), Site(1)), story, held=True)


def test_a_redis_that_died_and_forgot_nothing_costs_no_page_a_second_fetch(redis: RedisServer) -> None:
    async def story(crawl: Crawl, worker: Worker) -> None:
        worker.go()
        await eventually(lambda: len(worker.fetched) > 50, "no crawl")
        redis.kill()
        redis.start()
        assert (await crawl.complete()).counts["delivered"] == 600
        assert crawl.fetched.total() == 600

    run(Crawl(servers(REDIS_URL=redis.url), Site(600)), story, held=True)


# --- Words that are late, or lost


def test_what_a_lost_connection_still_delivers_leases_nothing(redis: RedisServer) -> None:
    """A call for leases comes after the worker has agreed with Redis, over another connection, on what it holds."""
    with TcpProxy(redis.port) as network:

        async def story(crawl: Crawl, worker: Worker) -> None:
            worker.latency = 0.1
            worker.go()
            await eventually(lambda: len(worker.fetched) > 100, "no crawl")
            network.stall(new=False)
            await eventually(lambda: away(), "nobody noticed")
            await eventually(lambda: not away(), "no new connection")
            network.mend()
            totals = await crawl.complete()
            assert totals.counts["delivered"] == 400
            assert totals.term("lost") == totals.term("stale") == 0

        run(Crawl(servers(REDIS_URL=network.url, REDIS_TIMEOUT=0.5), Site(400)), story, held=True)


def test_counts_are_counted_once_whether_they_or_their_answer_was_lost(redis: RedisServer) -> None:
    with TcpProxy(redis.port) as network:

        async def story(crawl: Crawl, worker: Worker) -> None:
            for lose in (network.lose_next_answer, network.cut) * 2:
                lose()
                worker.frontier.refuse("depth", 3)
                worker.frontier.sessions[0].wake()
                await eventually(away, "nothing was lost")
                network.mend()
                await eventually(lambda: not away(), "nobody came back")
            worker.go()
            totals = await crawl.complete()
            assert totals.by_reason("filtered") == {"depth": 12}
            assert totals.counts["delivered"] == 1

        run(Crawl(servers(REDIS_URL=network.url), Site(1)), story, held=True)


def test_leases_that_came_while_replicas_lagged_are_not_forgotten(redis: RedisServer, tmp_path: Path) -> None:
    """What was granted in the same breath as writes that too few replicas had is worked on all the same."""
    with RedisServer(tmp_path / "replica", redis.binary) as replica:
        follow(replica, redis)

        async def story(crawl: Crawl, worker: Worker) -> None:
            await eventually(lambda: len(worker.confirmed) > 50, "no crawl")
            replica.pause()
            await eventually(lambda: away(), "nobody says that the replica lags")
            replica.resume()
            assert (await crawl.complete()).counts["delivered"] == 400
            assert crawl.fetched.total() == 400

        options = {"wait_replicas": 1, "wait_milliseconds": 200}
        run(Crawl(servers(REDIS_URL=redis.url), Site(400), options=options), story)


def test_a_paused_crawl_rests_and_goes_on(redis: RedisServer) -> None:
    async def story(crawl: Crawl, worker: Worker) -> None:
        worker.latency = 0.05
        worker.go()
        await eventually(lambda: len(worker.fetched) > 50, "no crawl")
        await crawl.set_state("paused")
        await eventually(lambda: not worker.frontier.held, "the worker does not rest")
        rested = crawl.fetched.total()
        assert rested < 600
        await crawl.set_state("running")
        assert (await crawl.complete()).counts["delivered"] == 600

    run(Crawl(servers(REDIS_URL=redis.url), Site(600)), story, held=True)
