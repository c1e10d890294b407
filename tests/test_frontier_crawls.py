"""Crawls: who joins which, who seeds, what limits them, and when they are over."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from scrapy import Request
from scrapy.settings import Settings

from crawlers.frontier.connection import Servers
from crawlers.frontier.keys import Keys
from crawlers.frontier.pushes import PushedUrls
from crawlers.sink_load import SinkLoad
from deploy.demo_shop import DemoShop
from tests.fleet import FrontierSeine, links
from tests.polling import until
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Finished


def numbered(count: int) -> dict[str, Page]:
    return {"/": links(*(f"/n{i}" for i in range(count))), **{f"/n{i}": Page("x") for i in range(count)}}


def crawls_of(fleet: FrontierSeine) -> list[str]:
    return [name.decode() for name in fleet.redis.zrange(f"{fleet.keys.registry}:crawls", 0, -1)]


def ended(fleet: FrontierSeine, process: subprocess.Popen[str], server: WebServer) -> Finished:
    out, err = process.communicate(timeout=60)
    return Finished(process.returncode, out, err)


def test_an_equal_definition_joins_the_open_crawl_and_a_later_one_opens_another(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = web(numbered(20))
    crawl = ["crawl", "path_spider", "-a", f"url={server.url}/", *fleet.options(DOWNLOAD_DELAY=0.1)]
    server.may_answer.clear()
    workers = [fleet.start(*crawl) for _ in range(2)]
    until(lambda: fleet.redis.zcard(f"{fleet.keys.shard(0)}:workers") == 2, "nobody joins")
    server.may_answer.set()
    for worker in workers:
        assert ended(fleet, worker, server).code == 0
    assert len(crawls_of(fleet)) == 1
    assert len(server.visits) == 21
    assert fleet.crawl_from(server, "/").counts["empty"] == 20
    assert len(crawls_of(fleet)) == 2
    assert len(server.visits) == 42


def test_a_named_crawl_is_refused_once_it_is_complete(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    server = web(numbered(2))
    fleet.crawl_from(server, "/", FRONTIER_CRAWL_ID="monday")
    assert crawls_of(fleet) == ["monday"]
    again = fleet.run("crawl", "path_spider", "-a", f"url={server.url}/", *fleet.options(FRONTIER_CRAWL_ID="monday"))
    assert again.code == 2
    assert "crawl monday is complete" in again.err.splitlines()[-1]
    assert "Traceback" not in again.err


def test_breadth_first_is_by_arrival_and_depth_first_goes_down_at_once(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    pages = numbered(10) | {f"/n{i}": links(f"/below-n{i}") for i in range(10)}
    pages |= {f"/below-n{i}": Page("x") for i in range(10)}
    one_at_once = {"CONCURRENT_REQUESTS_PER_DOMAIN": 1, "DEPTH_PRIORITY": 0}
    breadth, depth = web(pages), web(pages)
    fleet.crawl_from(breadth, "/", **one_at_once)
    fleet.crawl_from(depth, "/", **one_at_once, FRONTIER_ORDER="depth")
    in_rows = ["/", *(f"/n{i}" for i in range(10)), *(f"/below-n{i}" for i in range(10))]
    assert [visit.path for visit in breadth.visits] == in_rows
    paths = [visit.path for visit in depth.visits]
    assert paths[1] == "/n9"
    assert paths[-1] in ("/n0", "/below-n0", "/below-n1")  # a page's links come after the next request was leased
    assert paths.index("/below-n9") < paths.index("/n5")


@pytest.mark.parametrize(
    ("limit", "fetched"), [({"FRONTIER_CRAWL_PAGES": 7}, 7), ({"FRONTIER_DOMAIN_PAGES": 5}, 5), ({}, 21)]
)
def test_page_limits_are_the_crawls_not_a_workers(
    fleet: FrontierSeine, web: Callable[..., WebServer], limit: dict[str, int], fetched: int
) -> None:
    server = web(numbered(20))
    over = fleet.crawl_from(server, "/", **limit)
    assert len(server.visits) == fetched
    assert over.counts.get("filtered:page limit", 0) == 21 - fetched


def test_a_sites_limits_and_pages_come_from_its_toml(fleet: FrontierSeine, shop: DemoShop, sites: Path) -> None:
    text = shop.site_toml().replace("pages = 5000", "pages = 40")
    assert "pages = 40" in text
    (sites / "demo.toml").write_text(text)
    finished = fleet.run("crawl", "product_spider", "-s", "ROBOTSTXT_OBEY=0")
    assert finished.code == 0, finished.err[-2000:]
    assert len(finished.events("request")) == 40
    keys = Keys(fleet.env["FRONTIER_NAMESPACE"], "product_spider")
    concurrency = {
        fleet.redis.hget(name, "c") for name in fleet.redis.scan_iter(f"{keys.shard(0)}:domain:*") if b"127" in name
    }
    assert concurrency == {b"16"}


def test_a_killed_seeder_is_followed_by_another(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    """The list is long enough to be seeded in several steps; the first worker dies after one of them."""
    count = 9000
    listed = fleet.folder / "urls.txt"
    server = web({f"/n{i}": Page("x") for i in range(count)})
    listed.write_text("".join(f"{server.url}/n{i}\n" for i in range(count)))
    options = ["-s", "ROBOTSTXT_OBEY=0", "-s", "FRONTIER_LEASE_SECONDS=1", "-s", "FRONTIER_CRAWL_PAGES=50"]
    crawl = ["crawl", "product_spider", "-a", f"urls=@{listed}", *options]
    keys = Keys(fleet.env["FRONTIER_NAMESPACE"], "product_spider")
    first = fleet.start(*crawl)

    def begun() -> list[bytes]:
        assert first.poll() is None
        return [key for key in fleet.redis.scan_iter(f"{keys.registry}:crawl:*") if reached(fleet, key)]

    [found] = until(begun, "nothing is seeded")
    first.kill()
    first.communicate()
    before = reached(fleet, found)
    assert 0 < before < count
    second = fleet.run(*crawl)
    assert second.code == 0, second.err[-2000:]
    [event] = second.events("seeding goes on")
    assert event["confirmed"] >= before
    root = keys.crawl(0, event["crawl_id"])
    counts = {name.decode(): int(n) for name, n in fleet.redis.hgetall(f"{root}:counts").items()}
    assert counts["seeded"] == count


def reached(fleet: FrontierSeine, key: bytes) -> int:
    return int(fleet.redis.hget(key, "seeded") or 0)


@pytest.mark.parametrize("kind", ["list", "set", "zset"])
def test_pushed_urls_are_fetched_and_leave_their_list(
    fleet: FrontierSeine, web: Callable[..., WebServer], kind: str
) -> None:
    server = web({"/": Page("x"), "/pushed": Page("x"), "/json?a=1": Page("x"), "/form": Page("x")})
    key = f"{fleet.env['FRONTIER_NAMESPACE']}:urls"
    as_json = json.dumps({"url": f"{server.url}/json?a=1", "meta": {"job": 7}})
    entries = [f"{server.url}/pushed", as_json, "no url", '{"meta": {}}']
    match kind:
        case "list":
            fleet.redis.lpush(key, *entries)
        case "set":
            fleet.redis.sadd(key, *entries)
        case "zset":
            fleet.redis.zadd(key, dict.fromkeys(entries, 1))
    settings = {"REDIS_START_URLS_KEY": key, f"REDIS_START_URLS_AS_{kind.upper()}": 1}
    over = fleet.crawl_from(server, "/", **settings)
    assert sorted(visit.path for visit in server.visits) == ["/", "/json?a=1", "/pushed"]
    assert over.of("seeded", "empty") == {"seeded": 3, "empty": 3}
    refused = {event["error"] for event in over.finished.events("pushed URL refused")}
    assert refused == {
        "no url: expected an http or https URL",
        "an entry without url: expected an http or https URL",
    }
    assert fleet.redis.llen(f"{{{key}}}:refused") == 2
    assert not list(fleet.redis.scan_iter(f"*{key}*claim*"))
    assert not fleet.redis.exists(key)


def test_pushed_urls_that_a_dead_worker_had_claimed_come_back(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = web({"/": Page("x"), "/claimed": Page("x")})
    key = f"{fleet.env['FRONTIER_NAMESPACE']}:urls"
    fleet.redis.rpush(f"{{{key}}}:claimed:gone", f"{server.url}/claimed")
    fleet.redis.zadd(f"{{{key}}}:claims", {"gone": 1})
    fleet.redis.lpush(key, f"{server.url}/")
    over = fleet.crawl_from(server, "/", REDIS_START_URLS_KEY=key)
    assert over.counts["empty"] == 2


def test_looking_for_the_end_and_taking_what_is_pushed_do_not_meet_on_their_connection(
    fleet: FrontierSeine, redis_server: RedisServer
) -> None:
    """An answer that the other one read would leave this one waiting for ever."""
    key = f"{fleet.env['FRONTIER_NAMESPACE']}:urls"
    fleet.redis.rpush(key, *(f"http://a.example/{n}" for n in range(5)))

    async def take_and_look() -> list[str]:
        settings = Settings({"REDIS_URL": redis_server.url, "REDIS_TIMEOUT": 5, "REDIS_START_URLS_KEY": key})
        pushed = PushedUrls(Servers.from_settings(settings), settings, "path_spider", "worker", 9000)
        await pushed.open()
        looking = asyncio.gather(*(pushed.is_empty() for _ in range(20)))
        urls = [request.url for request in await pushed.claim(Request)]
        assert not any(await looking)
        await pushed.done()
        assert await pushed.is_empty()
        await pushed.close()
        return urls

    async def in_time() -> list[str]:
        return await asyncio.wait_for(take_and_look(), 10)

    assert len(asyncio.run(in_time())) == 5


def test_a_waiting_worker_takes_the_next_crawl_when_a_sites_interval_is_over(
    fleet: FrontierSeine, shop: DemoShop, sites: Path
) -> None:
    text = (
        shop.site_toml().replace("enabled = true", "enabled = true\ninterval = 2").replace("pages = 5000", "pages = 20")
    )
    (sites / "demo.toml").write_text(text)
    worker = fleet.start("crawl", "product_spider", "-s", "FRONTIER_WAIT=1", "-s", "ROBOTSTXT_OBEY=0")
    registry = Keys(fleet.env["FRONTIER_NAMESPACE"], "product_spider").registry
    until(lambda: fleet.redis.zcard(f"{registry}:crawls") == 2, "no second crawl")
    worker.send_signal(signal.SIGTERM)
    finished = Finished(worker.returncode, *worker.communicate(timeout=30))
    assert worker.returncode == 0, finished.err[-2000:]
    [first, second, *_] = fleet.redis.zrange(f"{registry}:crawls", 0, -1, withscores=True)
    assert second[1] - first[1] >= 2000
    assert fleet.redis.hget(f"{registry}:crawl:{first[0].decode()}", "state") == b"complete"


def test_an_unreachable_redis_stops_the_start_with_one_line(fleet: FrontierSeine) -> None:
    fleet.env["REDIS_URL"] = "redis://user:secret@127.0.0.1:1/0"
    finished = fleet.run("crawl", "path_spider", "-a", "url=http://127.0.0.1:1/", *fleet.options())
    assert finished.code == 1
    last = finished.err.splitlines()[-1]
    assert last.startswith("seine: REDIS_URL: Redis at redis://127.0.0.1:1/0 cannot be used")
    assert "secret" not in finished.err
    assert "Traceback" not in finished.err


def test_a_full_sink_pauses_leasing_until_half_of_it_is_gone() -> None:
    load = SinkLoad(most_records=4, most_bytes=100)
    tracked = [load.track(10) for _ in range(4)]
    for one in tracked:
        one.__enter__()
    assert not load.has_room()
    tracked[0].__exit__(None, None, None)
    assert not load.has_room()
    tracked[1].__exit__(None, None, None)
    assert load.has_room()
    with load.track(100):
        assert not load.has_room()
