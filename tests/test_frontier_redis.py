"""The frontier on every kind of Redis that it may be given: TLS and users, Sentinels, a Cluster. All are real."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from crawlers.exceptions import StartupError
from crawlers.frontier.connection import Connection, Servers, connect_at_start
from crawlers.frontier.crawls import Crawls
from crawlers.frontier.scripts import SOURCES
from tests.fleet import FrontierSeine, links
from tests.frontier_crawl import Crawl, Site, away, servers
from tests.polling import eventually, until
from tests.servers.ports import HOST, free_port
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_sentinel import SentinelFleet
from tests.servers.redis_tls import TlsRedisServer
from tests.servers.web import Page, WebServer
from tests.support import ROOT, Seine

PASSWORD = "correct-horse"
SHARDS = 16


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedisServer]:
    with TlsRedisServer(tmp_path_factory.mktemp("tls")) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three nodes. A test that stops one starts it again."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def namespace() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelFleet]:
    """A master, two replicas, three Sentinels."""
    with SentinelFleet(tmp_path / "sentinels", replicas=2, sentinels=3) as fleet:
        yield fleet


# --- TLS and users


def documented_rule() -> list[str]:
    """The rule of docs/frontier.md for a user of a fleet's own."""
    [rule] = re.findall(r"^    ACL SETUSER seine (.*(?:\n      .*)*)$", (ROOT / "docs/frontier.md").read_text(), re.M)
    return rule.split()


def commands_used() -> set[str]:
    """The commands of the scripts and of the modules that talk to Redis, in lower case."""
    scripts = {name for source in SOURCES.values() for name in re.findall(r"call\('([A-Z]+)'", source)}
    folders = ("frontier", "changes", "monitors", "proxies", "robots")
    sources = (path.read_text() for folder in folders for path in (ROOT / "crawlers" / folder).glob("*.py"))
    words = {word for source in sources for word in re.findall(r"\"([A-Z]{3,})\"", source)}
    return {name.lower() for name in scripts | words}


def make_user(server: TlsRedisServer, namespace: str, *, spider: str = "path_spider") -> None:
    """The documented user, for that namespace and spider."""
    rule = [part.replace("seine", namespace).replace("product_spider", spider) for part in documented_rule()]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "seine", "reset", *rule[:1], f">{PASSWORD}", *rule[2:])
        client.acl_log_reset()


def test_the_documented_rights_cover_every_command(tls: TlsRedisServer) -> None:
    with tls.client() as client:
        known = {name.decode() for name in client.command_list() if b"|" not in name}
    allowed = {part[1:].partition("|")[0] for part in documented_rule() if part.startswith("+")}
    assert commands_used() & known <= allowed
    assert not any(part.startswith("+@") or part == "~*" for part in documented_rule())


def test_a_crawl_over_tls_by_a_user_of_its_namespace_alone(
    tls: TlsRedisServer, offline: Seine, web: Callable[..., WebServer], namespace: str
) -> None:
    make_user(tls, namespace)
    url = tls.url_of("seine", PASSWORD)
    fleet = FrontierSeine(
        offline.folder, {**offline.env, "REDIS_URL": url, "FRONTIER_NAMESPACE": namespace}, tls.client()
    )
    server = web({"/": links(*(f"/n{i}" for i in range(30))), **{f"/n{i}": Page("x") for i in range(30)}})
    server.pages["/pushed"] = Page("x")
    with tls.client() as admin:
        admin.lpush("path_spider:start_urls", f"{server.url}/pushed")

    ended = fleet.crawl_from(server, "/", LOG_LEVEL="DEBUG")

    assert ended.of("expanded", "empty") == {"expanded": 1, "empty": 31}
    assert ended.finished.code == 0
    assert PASSWORD not in ended.finished.err + ended.finished.out
    with tls.client() as admin:
        assert admin.acl_log() == []
    with Redis.from_url(url, protocol=2) as user:
        for attempt in (lambda: user.get("other:key"), lambda: user.keys("*"), lambda: user.flushall()):
            with pytest.raises(NoPermissionError):
                attempt()


def test_a_redis_that_refuses_a_start_costs_one_line(tls: TlsRedisServer, offline: Seine, namespace: str) -> None:
    make_user(tls, "another-namespace")
    refused = {
        tls.url_of("seine", "wrong-horse"): "invalid username-password pair",
        tls.url_of("seine", PASSWORD): "no permissions to access one of the keys",
    }
    for url, why in refused.items():
        env = {**offline.env, "REDIS_URL": url, "FRONTIER_NAMESPACE": namespace, "SPIDER_MODULES": "tests.spiders"}
        target = ["-a", "url=http://127.0.0.1:1/", "-s", "SPIDER_MODULES=tests.spiders"]
        finished = Seine(offline.folder, env).run("crawl", "path_spider", *target)
        line = finished.err.strip().splitlines()[-1]
        assert line.startswith(f"seine: REDIS_URL: Redis at rediss://{HOST}:{tls.port}/0 cannot be used: ")
        assert why in line
        assert finished.code == 1
        assert "Traceback" not in finished.err
        assert "horse" not in finished.err


@pytest.mark.parametrize("right", ["zpopmin", "srem", "hincrby", "setbit"])
def test_a_right_that_is_missing_is_told_before_anything_depends_on_it(
    tls: TlsRedisServer, offline: Seine, web: Callable[..., WebServer], namespace: str, right: str
) -> None:
    """A script that is refused a command half-way is not rolled back."""
    make_user(tls, namespace)
    with tls.client() as client:
        client.execute_command("ACL", "SETUSER", "seine", f"-{right}")
    server = web({"/": Page("x")})
    fleet = FrontierSeine(
        offline.folder,
        {**offline.env, "REDIS_URL": tls.url_of("seine", PASSWORD), "FRONTIER_NAMESPACE": namespace},
        tls.client(),
    )
    finished = fleet.run("crawl", "path_spider", "-a", f"url={server.url}/", *fleet.options())
    assert finished.code == 1
    assert "cannot be used: " in finished.err.strip().splitlines()[-1]
    assert server.visits == []
    assert fleet.redis.keys(f"{namespace}:*:queue:*") == []


def test_who_may_count_pushed_urls_and_not_claim_them_is_refused_at_the_start(
    tls: TlsRedisServer, offline: Seine, namespace: str
) -> None:
    """A worker that found out later would ask for ever."""
    make_user(tls, namespace)
    keys = (f"~{namespace}:*", "~path_spider:*", "~{path_spider:start_urls}:*")
    with tls.client() as client:
        client.execute_command("ACL", "SETUSER", "seine", "resetkeys", *keys)
    env = {**offline.env, "REDIS_URL": tls.url_of("seine", PASSWORD), "FRONTIER_NAMESPACE": namespace}
    fleet = FrontierSeine(offline.folder, env, tls.client())
    finished = fleet.run("crawl", "path_spider", "-a", "url=http://127.0.0.1:1/", *fleet.options())
    assert finished.code == 1
    assert "cannot be used: " in finished.err.strip().splitlines()[-1]


def test_why_a_redis_cannot_be_used_is_told(tls: TlsRedisServer) -> None:
    reasons = {
        tls.url.replace("rediss", "redis"): "ssl_ca_certs",
        f"rediss://{HOST}:{tls.port}": "certificate verify failed",
        f"redis://{HOST}:{tls.port}": "onnection",
        f"redis://{HOST}:{free_port()}": "Connect call failed",
    }
    for url, why in reasons.items():
        with pytest.raises(StartupError, match=why):
            asyncio.run(connect_at_start(servers(REDIS_URL=url), "key"))


# --- Sentinel


def test_workers_find_the_new_master_by_themselves(sentinels: SentinelFleet) -> None:
    for server in sentinels.servers:  # users are not replicated
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "seine", "on", f">{PASSWORD}", "~*", "+@all")

    async def crawl_through_a_failover() -> None:
        found = servers(REDIS_URL=f"redis://seine:{PASSWORD}@unused", REDIS_SENTINELS=sentinels.addresses)
        async with Crawl(found, Site(600)) as crawl:
            workers = [await crawl.worker() for _ in range(2)]
            await crawl.seed(workers[0])
            await eventually(lambda: len(crawl.fetched) > 50, "no crawl")
            died = sentinels.master
            died.kill()
            totals = await crawl.complete()
            await eventually(lambda: sentinels.master is not died, "one Sentinel has not noticed")
            assert totals.counts["delivered"] == 600

    asyncio.run(crawl_through_a_failover())


def test_without_wait_a_failover_forgets_what_the_replicas_had_not_heard(sentinels: SentinelFleet) -> None:
    """A settled page returns, and is fetched again, links and all; a request that came from no page is gone."""

    async def lose() -> None:
        async with Crawl(servers(REDIS_SENTINELS=sentinels.addresses), Site(8)) as crawl:
            first = await crawl.worker(held=True)
            await crawl.seed(first)
            await eventually(lambda: first.busy, "page 0 is not leased")
            sentinels.cut_replication()
            first.go()
            await eventually(lambda: len(first.confirmed) == 8, "not all pages are settled")
            await first.let_in(100)
            await first.leave()  # nobody is left who could tell it again
            assert (await crawl.totals()).known == 9

            died = sentinels.master
            died.kill()
            await eventually(lambda: sentinels.master is not died, "no failover")
            second = await crawl.worker()
            totals = await crawl.complete()

            assert totals.known == 8
            assert set(second.fetched) == set(range(8))

    asyncio.run(lose())


def test_with_wait_a_failover_forgets_nothing_that_was_confirmed(sentinels: SentinelFleet) -> None:
    async def lose_nothing() -> None:
        options = {"wait_replicas": 1, "wait_milliseconds": 200}
        async with Crawl(servers(REDIS_SENTINELS=sentinels.addresses), Site(400), options=options) as crawl:
            worker = await crawl.worker()
            await crawl.seed(worker)
            await eventually(lambda: len(worker.confirmed) > 50, "no crawl")
            sentinels.cut_replication()
            await eventually(lambda: away() == 1, "nobody says that the replicas are missing")
            confirmed = worker.confirmed
            worker.frontier.enqueue(crawl.site.request(1000))
            await asyncio.sleep(0.5)
            assert worker.confirmed == confirmed
            assert worker.frontier.backlog

            died = sentinels.master
            died.kill()
            await eventually(lambda: sentinels.master is not died, "no failover")
            sentinels.mend_replication()  # one replica follows the other, which is the master now
            totals = await crawl.complete()

            assert totals.counts["delivered"] == 401
            assert not [page for page in confirmed if worker.fetched[page] > 1]

    asyncio.run(lose_nothing())


# --- Cluster


def on_cluster(cluster: RedisCluster) -> Servers:
    return servers(REDIS_URL=cluster.url, REDIS_CLUSTER=True)


def test_shards_lie_on_every_node_and_a_worker_leases_from_many(cluster: RedisCluster) -> None:
    async def crawl_all() -> None:
        async with Crawl(on_cluster(cluster), Site(600, domains=60), SHARDS) as crawl:
            assert {cluster.node_of(crawl.keys.shard(number)) for number in range(SHARDS)} == set(cluster.nodes)
            workers = [await crawl.worker(held=True) for _ in range(2)]
            await crawl.seed(workers[0], *range(60))
            await eventually(lambda: all(worker.busy == worker.concurrency for worker in workers), "too few leases")
            for worker in workers:
                assert len({lease.shard for lease in worker.frontier.held.values()}) >= 4
                worker.go()
            totals = await crawl.complete()
            assert totals.counts["delivered"] == 600
            assert crawl.fetched.total() == 600
            assert len(totals.versions) == SHARDS

    asyncio.run(crawl_all())


class Overtaken:
    """A connection; something happens before it is first used."""

    def __init__(self, connection: Connection, happens: Callable[[], Awaitable[None]]):
        self._connection = connection
        self._happens: Callable[[], Awaitable[None]] | None = happens

    async def one(self, *command: Any) -> Any:
        if (happens := self._happens) is not None:
            self._happens = None
            await happens()
        return await self._connection.one(*command)

    async def close(self) -> None:
        await self._connection.close()


def test_a_crawl_is_not_complete_while_a_request_moves_between_shards(cluster: RedisCluster) -> None:
    """Every shard is empty when it is asked, but they are not empty at the same moment."""

    async def move() -> None:
        site = Site(2, domains=2)
        async with Crawl(on_cluster(cluster), site, SHARDS) as crawl:
            here, there = (crawl.keys.shard_of(site.domain(page)) for page in (0, 1))
            assert here > there
            worker = await crawl.worker(held=True)
            await crawl.seed(worker)
            await eventually(lambda: worker.busy, "page 0 is not leased")

            async def follow_the_link() -> None:
                worker.let_go()
                await eventually(lambda: worker.confirmed == {0} and worker.busy, "page 0 is not settled")

            connections: list[Any] = await crawl.control.connect()
            connections[here] = Overtaken(connections[here], follow_the_link)
            crawls = Crawls(crawl.keys, connections)
            assert not await crawls.complete(crawl.name, 60)
            await crawls.close()

            worker.go()
            assert (await crawl.complete()).counts["delivered"] == 2

    asyncio.run(move())


def test_a_slot_may_move_to_another_node_in_the_middle_of_a_crawl(cluster: RedisCluster) -> None:
    """Neither the half that left nor the half that stayed is taken for the frontier: workers wait for the whole."""

    async def move() -> None:
        async with Crawl(on_cluster(cluster), Site(600, domains=60), SHARDS) as crawl:
            workers = [await crawl.worker() for _ in range(2)]
            await crawl.seed(workers[0])
            await eventually(lambda: len(crawl.fetched) > 50, "no crawl")
            for number in (0, 3, 5):
                key = crawl.keys.shard(number)
                others = [node for node in cluster.nodes if node is not cluster.node_of(key)]
                await asyncio.to_thread(cluster.move, key, others[0], lambda: sleep(0.1))
            assert (await crawl.complete()).counts["delivered"] == 600
            assert crawl.fetched.total() == 600

    asyncio.run(move())


def test_a_node_that_was_away_is_waited_for(cluster: RedisCluster) -> None:
    """The first node is the one that REDIS_URL names."""

    async def restart() -> None:
        async with Crawl(on_cluster(cluster), Site(400, domains=60), SHARDS) as crawl:
            workers = [await crawl.worker() for _ in range(2)]
            await crawl.seed(workers[0])
            await eventually(lambda: len(crawl.fetched) > 50, "no crawl")
            shard = next(n for n in range(SHARDS) if cluster.node_of(crawl.keys.shard(n)) is cluster.nodes[0])
            cluster.nodes[0].kill()
            await eventually(lambda: away(shard) == 1, "nobody noticed")
            cluster.nodes[0].start()
            assert (await crawl.complete()).counts["delivered"] == 400

    asyncio.run(restart())


def test_a_node_that_went_back_in_time_alone_may_lose_links_of_pages_that_another_node_knows_as_done(
    cluster: RedisCluster,
) -> None:
    """What FRONTIER_WAIT_REPLICAS is for, or appendfsync always: one shard's end follows another's beginning."""

    async def lose() -> None:
        site = Site(2, domains=2)
        async with Crawl(on_cluster(cluster), site, SHARDS) as crawl:
            page, link = (cluster.node_of(crawl.keys.shard(crawl.keys.shard_of(site.domain(n)))) for n in (0, 1))
            assert page is not link
            worker = await crawl.worker(held=True)
            await crawl.seed(worker)
            await eventually(lambda: worker.busy, "page 0 is not leased")
            before = link.log_of_writes.stat().st_size
            worker.let_go()
            await eventually(lambda: worker.confirmed == {0}, "page 0 is not settled")
            await worker.leave()
            link.kill_and_forget(before)
            link.start()
            await asyncio.to_thread(until, cluster.is_good, "the cluster is not in good state")
            await crawl.worker()
            totals = await crawl.complete()
            assert totals.counts["delivered"] == totals.known == 1

    asyncio.run(lose())
