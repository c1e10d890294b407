"""Redis dies, goes back in time, falls silent, fills up or is cut off: the crawl pauses, says so, and goes on."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.chaos import Tree
from tests.fleet import Ended, FrontierSeine, links
from tests.polling import until
from tests.servers.redis import RedisServer
from tests.servers.tcp_proxy import TcpProxy
from tests.servers.web import Page, WebServer
from tests.support import Finished, Seine

PAGES = 250
SILENCE = float(os.environ.get("OUTAGE_SECONDS", "3"))
"""Seconds, longer than a lease; `make chaos` has 30."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which keeps what it is told."""
    with RedisServer(tmp_path / "redis", appendonly="yes", appendfsync="everysec") as server:
        yield server


@pytest.fixture
def site(web: Callable[..., WebServer]) -> WebServer:
    server = web(Tree(PAGES))
    server.latency = 0.03
    return server


class Crawl:
    """One worker on `site`, whose log can be read while it runs."""

    def __init__(self, offline: Seine, url: str, redis: RedisServer, site: WebServer, **settings: Any):
        env = {"REDIS_URL": url, "FRONTIER_NAMESPACE": f"test-{secrets.token_hex(4)}", "REDIS_TIMEOUT": "1"}
        self.fleet = FrontierSeine(offline.folder, {**offline.env, **env}, redis.client())
        self._redis = redis
        self._site = site
        self._settings = {"CONCURRENT_REQUESTS_PER_DOMAIN": 8, "FRONTIER_LEASE_SECONDS": 5, **settings}
        self._logs: list[Path] = []

    def start(self, path: str = "/item-0") -> subprocess.Popen[str]:
        log = self.fleet.folder / f"{secrets.token_hex(4)}.log"
        self._logs.append(log)
        options = self.fleet.options(LOG_FILE=log, **self._settings)
        return self.fleet.start("crawl", "path_spider", "-a", f"url={self._site.url}{path}", *options)

    def says(self, event: str, **wanted: Any) -> int:
        """How often it was logged with such fields."""
        lines = [line for log in self._logs if log.exists() for line in log.read_text().splitlines()]
        told = [json.loads(line) for line in lines if line.endswith("}")]
        return sum({"event": event, **wanted}.items() <= one.items() for one in told)

    def ended(self, *workers: subprocess.Popen[str]) -> Ended:
        for worker in workers:
            out, err = worker.communicate(timeout=90)
            assert worker.returncode == 0, err[-2000:]
        self.fleet.redis = self._redis.client()
        return self.fleet.ended(Finished(0, out, err), self._site)


def check(ended: Ended, pages: int = PAGES) -> None:
    """Every page was delivered once, as far as the frontier's books go; `ended` itself checked the equation."""
    assert ended.of("delivered", "pending", "dead") == {"delivered": pages, "pending": 0, "dead": 0}
    assert set(ended.server.times) == set(ended.server.pages)


def test_a_redis_that_is_killed_and_comes_back(offline: Seine, redis: RedisServer, site: WebServer) -> None:
    crawl = Crawl(offline, redis.url, redis, site)
    worker = crawl.start()
    site.wait_for(80)
    redis.kill()
    until(lambda: crawl.says("redis away"), "nobody missed Redis")
    redis.start()
    check(crawl.ended(worker))
    assert crawl.says("redis back") >= 1


def test_a_redis_that_comes_back_as_it_was_some_pages_ago(offline: Seine, redis: RedisServer, site: WebServer) -> None:
    """Links that it had confirmed are told again before their page is settled, and what it settled is done again."""
    crawl = Crawl(offline, redis.url, redis, site)
    worker = crawl.start()
    site.wait_for(40)
    before = redis.log_of_writes.stat().st_size
    site.wait_for(100)
    redis.kill_and_forget(before)
    redis.start()
    check(crawl.ended(worker))


def test_a_silent_redis_costs_no_worker_its_leases(offline: Seine, redis: RedisServer, site: WebServer) -> None:
    """It is silent for longer than leases last; then everybody may speak before anybody is taken for dead."""
    crawl = Crawl(offline, redis.url, redis, site, FRONTIER_LEASE_SECONDS=2, FRONTIER_CRAWL_ID="one")
    site.latency = 0.1
    workers = [crawl.start(), crawl.start()]
    site.wait_for(60)
    redis.pause()
    until(lambda: crawl.says("redis away") >= 2, "nobody missed Redis")
    silence = Event()
    assert not silence.wait(SILENCE)
    redis.resume()
    ended = crawl.ended(*workers)
    check(ended)
    assert ended.counts.get("lost", 0) == 0


def test_a_full_redis_pauses_the_crawl_until_it_has_room(offline: Seine, redis: RedisServer, site: WebServer) -> None:
    crawl = Crawl(offline, redis.url, redis, site)
    worker = crawl.start()
    site.wait_for(60)
    client = redis.client()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    until(lambda: crawl.says("redis away"), "nobody noticed")
    paused_at = until(lambda: still(site), "the crawl does not pause")
    assert paused_at < PAGES
    assert worker.poll() is None
    client.config_set("maxmemory", 0)
    check(crawl.ended(worker))
    assert crawl.says("redis away") == crawl.says("redis back") == 1


def still(site: WebServer) -> int:
    """How many pages were asked for, once no more are."""
    seen = len(site.visits)
    return seen if not Event().wait(1) and len(site.visits) == seen else 0


def test_a_network_that_is_cut_and_mended(offline: Seine, redis: RedisServer, site: WebServer) -> None:
    with TcpProxy(redis.port) as network:
        crawl = Crawl(offline, f"redis://127.0.0.1:{network.port}/0", redis, site)
        worker = crawl.start()
        site.wait_for(80)
        network.cut()
        until(lambda: crawl.says("redis away"), "nobody missed Redis")
        network.mend()
        ended = crawl.ended(worker)
    check(ended)
    assert ended.counts.get("lost", 0) == 0


def test_answers_that_are_lost_on_their_way_count_nothing_twice(
    offline: Seine, redis: RedisServer, site: WebServer
) -> None:
    """What was asked has happened; asked again, it does not happen again."""
    with TcpProxy(redis.port) as network:
        crawl = Crawl(offline, f"redis://127.0.0.1:{network.port}/0", redis, site)
        worker = crawl.start()
        for visits in (20, 60, 100, 140, 180):
            site.wait_for(visits)
            network.lose_next_answer()
            assert network.lost.wait(20)
        ended = crawl.ended(worker)
    check(ended)
    assert ended.of("seeded", "discovered") == {"seeded": 1, "discovered": PAGES - 1}


def test_a_corrupt_request_is_dead_by_name_and_the_rest_goes_on(
    offline: Seine, redis: RedisServer, web: Callable[..., WebServer]
) -> None:
    may_answer = Event()

    def start(earlier: int) -> Page:
        may_answer.wait(30)
        return links("/item-1", "/item-2")

    site = web({"/": start, "/item-1": Page("x"), "/item-2": Page("x")})
    crawl = Crawl(offline, redis.url, redis, site)
    worker = crawl.start("/")
    site.wait_for(1)
    client, keys = redis.client(), crawl.fleet.keys
    [name] = client.zrange(f"{keys.registry}:crawls", 0, 0)
    root = keys.crawl(0, name.decode())
    client.zadd(f"{root}:queue:broken.example", {b"12345678not msgpack": 1})
    client.zadd(f"{root}:ready", {"broken.example": 0})
    client.hincrby(f"{root}:counts", "seeded", 1)
    client.hincrby(f"{root}:counts", "pending", 1)
    until(lambda: client.hlen(f"{root}:dead"), "it is not dead")
    may_answer.set()
    _, err = worker.communicate(timeout=60)
    assert worker.returncode == 0, err[-2000:]
    counts = {name.decode(): int(n) for name, n in client.hgetall(f"{root}:counts").items()}
    assert (counts["dead:corrupt request"], counts["dead"], counts["delivered"]) == (1, 1, 2)
    assert crawl.says("request", outcome="dead", reason="corrupt request", domain="broken.example") == 1
