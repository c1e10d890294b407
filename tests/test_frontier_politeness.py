"""A domain is asked no faster by many workers than by one, whatever they are late with and however they end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import sleep

from tests.fleet import FrontierSeine, links
from tests.polling import until
from tests.servers.certificates import Authority
from tests.servers.web import Page, WebServer
from tests.support import Finished

DELAY = 0.5
CLOSEST = 0.8 * DELAY
"""At the server: nine tenths of the delay at the worker, less what a request may be on its way."""

CLOSING = {"Connection": "close"}


def gaps(server: WebServer) -> list[float]:
    return [after - before for before, after in pairwise(sorted(visit.at for visit in server.visits))]


def numbered(*names: str) -> dict[str, Page]:
    """A start page and the pages that it links to."""
    return {"/": links(*(f"/{name}" for name in names)), **{f"/{name}": Page("x") for name in names}}


def test_several_workers_share_one_domains_delay(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    server = web(numbered(*(f"n{i}" for i in range(24))))
    crawl = ["crawl", "path_spider", "-a", f"url={server.url}/", *fleet.options(DOWNLOAD_DELAY=DELAY)]
    workers = [fleet.start(*crawl) for _ in range(3)]
    outputs = [worker.communicate(timeout=60) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], outputs[0][1][-2000:]
    assert len(server.visits) == 25
    assert min(gaps(server)) >= CLOSEST
    assert sum(gaps(server)) <= 24 * DELAY * 1.5
    ended = fleet.ended(Finished(0, *outputs[0]), server)
    assert ended.of("expanded", "empty", "lost") == {"expanded": 1, "empty": 24, "lost": 0}


def test_what_is_late_keeps_its_distance(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    """A callback blocks the loop for several delays; what was due meanwhile does not follow in a burst."""
    server = web(numbered("a", "busy-0.7", "b", "c", "busy-0.6", "d", "e", "f"))
    ended = fleet.crawl_from(server, "/", DOWNLOAD_DELAY=DELAY)
    assert len(server.visits) == 9
    assert min(gaps(server)) >= CLOSEST
    assert max(gaps(server)) >= 0.6
    assert ended.counts["pending"] == 0


def test_encrypted_requests_keep_their_distance(
    fleet: FrontierSeine, web: Callable[..., WebServer], tmp_path: Path
) -> None:
    """The handshake of a new connection is not the request that the next one keeps its distance from."""
    pages = {"/": links(*(f"/n{i}" for i in range(12)))}
    pages |= {f"/n{i}": Page("x", headers=CLOSING if i % 3 == 0 else {}) for i in range(12)}
    server = web(pages, Authority(tmp_path / "authority").issue("shop"))
    ended = fleet.crawl_from(server, "/", DOWNLOAD_DELAY=DELAY)
    assert ended.counts["empty"] == 12
    assert min(gaps(server)) >= CLOSEST
    assert sum(gaps(server)) <= 12 * DELAY * 1.5


def test_attempts_that_fail_keep_their_distance_too(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    def cut_off(_: int) -> Page:
        raise ConnectionAbortedError

    server = web({path: page._replace(headers=CLOSING) for path, page in numbered("a", "gone", "b", "c").items()})
    server.pages["/gone"] = cut_off
    ended = fleet.crawl_from(server, "/", DOWNLOAD_DELAY=DELAY, RETRY_TIMES=2)
    assert ended.of("expanded", "empty", "dead") == {"expanded": 1, "empty": 3, "dead": 1}
    assert min(gaps(server)) >= CLOSEST


def test_robots_txt_and_its_crawl_delay_are_part_of_the_distance(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    pages = numbered("a", "b", "c", "d")
    pages["/robots.txt"] = Page(
        f"User-agent: *\nCrawl-delay: {DELAY}\nDisallow: /d\n", headers={"Content-Type": "text/plain"}
    )
    server = web(pages)
    ended = fleet.crawl_from(server, "/", ROBOTSTXT_OBEY=1, DOWNLOAD_DELAY=0)
    assert [visit.path for visit in server.visits][:2] == ["/robots.txt", "/"]
    assert len(server.visits) == 5
    assert min(gaps(server)) >= CLOSEST
    assert ended.counts["filtered:robots"] == 1
    [start] = ended.finished.events("request", url=f"{server.url}/")
    assert start["seconds"] < 0.5 * DELAY, "its wait for its turn is no latency of the server"


def test_robots_txt_keeps_the_fleets_distance_whichever_worker_asks_for_it(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    """Its copy is old at once, so that each page has a robots.txt before it. It is slow, so that a worker takes its
    requests as early as it may.
    """

    def slow(_: int) -> Page:
        sleep(0.3)
        return Page("", headers={"Content-Type": "text/plain"})

    server = web({**numbered(*(f"n{i}" for i in range(6))), "/robots.txt": slow})
    options = fleet.options(DOWNLOAD_DELAY=DELAY, ROBOTSTXT_OBEY=1, ROBOTSTXT_TTL=0.001, CONCURRENT_REQUESTS=2)
    workers = [fleet.start("crawl", "path_spider", "-a", f"url={server.url}/", *options) for _ in range(2)]
    outputs = [worker.communicate(timeout=120) for worker in workers]
    assert min(gaps(server)) >= CLOSEST
    assert len(server.visits_of("/robots.txt")) > 1
    assert fleet.ended(Finished(0, *outputs[0]), server).of("expanded", "empty") == {"expanded": 1, "empty": 6}


def test_the_fleet_is_told_when_a_robots_txt_was_sent(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    """Before it is answered, and before its page is sent."""

    def robots(_: int) -> Page:
        key = f"{fleet.keys.shard(0)}:domain:{server.domain}"
        until(lambda: fleet.redis.hget(key, "s"), "Redis has not heard of it", 15)
        return Page("User-agent: *\nDisallow: /a")

    server = web({**numbered("a", "b"), "/robots.txt": robots})
    ended = fleet.crawl_from(server, "/", DOWNLOAD_DELAY=DELAY, ROBOTSTXT_OBEY=1)
    assert ended.of("empty", "filtered:robots") == {"empty": 1, "filtered:robots": 1}
    assert min(gaps(server)) >= CLOSEST


def test_a_domain_without_delay_is_fetched_by_as_many_as_its_concurrency_allows(
    fleet: FrontierSeine, web: Callable[..., WebServer]
) -> None:
    server = web(numbered(*(f"n{i}" for i in range(40))))
    ended = fleet.crawl_from(server, "/", DOWNLOAD_DELAY=0, CONCURRENT_REQUESTS_PER_DOMAIN=8)
    assert ended.counts["empty"] == 40
    assert max(server.at_once) <= 8
    assert max(server.at_once) > 1


def test_a_killed_worker_leaves_no_burst_behind(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    server = web(numbered(*(f"n{i}" for i in range(12))))
    crawl = ["crawl", "path_spider", "-a", f"url={server.url}/"]
    crawl += fleet.options(DOWNLOAD_DELAY=DELAY, FRONTIER_LEASE_SECONDS=1)
    first = fleet.start(*crawl)
    server.wait_for(5)
    first.kill()
    first.communicate()
    second = fleet.run(*crawl)
    assert second.code == 0, second.err[-2000:]
    assert min(gaps(server)) >= CLOSEST
    assert {visit.path for visit in server.visits} == set(server.pages)
    ended = fleet.ended(second, server)
    assert ended.counts["lost"] >= 1
    assert len(server.visits) <= 13 + ended.counts["lost"]


def test_a_domain_that_fails_is_left_alone_for_a_while(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    def down_at_first(_: int) -> Page:
        return Page("x", 200 if len(server.visits) > 6 else 500)

    names = [f"n{i}" for i in range(6)]
    server = web({"/": links(*(f"/{name}" for name in names)), **{f"/{name}": down_at_first for name in names}})
    cool_down = {"BREAKER_FAILURES": 3, "BREAKER_COOL_DOWN": 0.8, "RETRY_TIMES": 9}
    ended = fleet.crawl_from(server, "/", CONCURRENT_REQUESTS_PER_DOMAIN=1, **cool_down)
    assert ended.counts["empty"] == 6
    assert "dead" not in ended.counts
    assert len([gap for gap in gaps(server) if gap >= 0.75]) >= 2  # opened, and once more after a failed probe


def test_a_crawl_gives_up_a_domain_that_stays_down(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    names = [f"n{i}" for i in range(30)]
    server = web({"/": links(*(f"/{name}" for name in names)), **{f"/{name}": Page("x", 500) for name in names}})
    limits = {"BREAKER_FAILURES": 3, "BREAKER_COOL_DOWN": 0.2, "BREAKER_OPENINGS": 2, "RETRY_TIMES": 5}
    ended = fleet.crawl_from(server, "/", CONCURRENT_REQUESTS_PER_DOMAIN=1, **limits)
    assert ended.counts["dead:domain down"] >= 25
    assert ended.counts["dead"] == 30
    assert len(server.visits) <= 8


def test_domains_take_turns(fleet: FrontierSeine, web: Callable[..., WebServer]) -> None:
    """A domain with many requests waiting does not hold up those with few."""
    small = [web(numbered("only")) for _ in range(5)]
    big = web({})
    paths = [f"n{i}" for i in range(60)]
    big.pages.update(numbered(*paths))
    big.pages["/"] = links(*(f"/{path}" for path in paths), *(f"{server.url}/only" for server in small))
    ended = fleet.crawl_from(big, "/", DOWNLOAD_DELAY=0.02, CONCURRENT_REQUESTS_PER_DOMAIN=1)
    assert ended.counts["empty"] == 65
    last_of_small = max(server.visits[-1].at for server in small)
    assert last_of_small < sorted(visit.at for visit in big.visits)[20]
