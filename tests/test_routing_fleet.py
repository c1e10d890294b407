"""Routing by several workers: politeness and what is learnt are the fleet's."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from crawlers.frontier.keys import Keys
from tests.fleet import FrontierSeine
from tests.polling import until
from tests.routing_shop import LISTS, RENDERED, Web, anchors, filled, measured, priced, routes_in, shop_of
from tests.servers.web import Page, WebServer
from tests.support import Finished, events_in

DELAY = 0.5
CLOSEST = 0.8 * DELAY
"""At the server: nine tenths of the delay at the worker, less what a request may be on its way."""


def crawl_by_two(
    fleet: FrontierSeine, server: WebServer, folder: Path, crawls: tuple[str, str] = ("one", "one")
) -> list[Finished]:
    """Crawls by two workers that are both there before the first page is answered. Neither has room for all pages."""
    rooms = {"CONCURRENT_REQUESTS": 2, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}
    given = {"BROWSER_TMP_DIR": folder, "ROBOTSTXT_OBEY": 0, **rooms}
    options = [part for name, value in given.items() for part in ("-s", f"{name}={value}")]
    server.may_answer.clear()
    workers = [
        fleet.start(
            *("crawl", "product_spider", "-s", f"FRONTIER_CRAWL_ID={crawl}", *options),
            *("-O", str(fleet.folder / f"{number}.jsonl")),
        )
        for number, crawl in enumerate(crawls)
    ]
    registered = f"{Keys(fleet.env['FRONTIER_NAMESPACE'], 'product_spider').shard(0)}:workers"
    until(lambda: fleet.redis.zcard(registered) == 2, "there are not two workers")
    server.may_answer.set()
    ended = [worker.communicate(timeout=180) for worker in workers]
    for worker, (_, err) in zip(workers, ended, strict=True):
        assert worker.returncode == 0, err[-2000:]
    return [Finished(0, out, err, events_in(err)) for out, err in ended]


def test_both_requests_of_a_comparison_take_their_turn_in_the_fleet(
    fleet: FrontierSeine, sites: Path, web: Web, browser_folder: Path
) -> None:
    """Two crawls of one domain: no two requests come closer than its delay, be they HTTP's or a browser's."""
    plain, scripted = ([f"/p/{number}" for number in range(first, 8, 2)] for first in (0, 1))
    pages: dict[str, Any] = {"/c/all": measured(anchors(*sorted(plain + scripted)))}
    pages |= {path: Page(priced(number)) for number, path in enumerate(plain)}
    pages |= {path: filled(priced(100 + number)) for number, path in enumerate(scripted)}
    server = shop_of(web, sites, pages, delay=DELAY)

    workers = crawl_by_two(fleet, server, browser_folder, ("one", "another"))

    assert [routes_in(worker)["more"] for worker in workers] == [4, 4]
    assert [len(worker.events("request", outcome="delivered")) for worker in workers] == [8, 8]
    assert not [event for worker in workers for event in worker.events("request", outcome="retried")]
    assert Counter(visit.path for visit in server.visits) == {
        "/c/all": 3,
        **dict.fromkeys(plain, 2),
        **dict.fromkeys(scripted, 4),
    }
    moments = sorted(visit.at for visit in server.visits)
    gaps = [after - before for before, after in pairwise(moments)]
    print(f"{len(moments)} requests, gaps of {min(gaps):.3f} to {max(gaps):.3f} s")
    assert min(gaps) >= CLOSEST


def test_the_fleet_learns_each_pattern_once_and_misses_no_product(
    fleet: FrontierSeine, sites: Path, web: Web, browser_folder: Path
) -> None:
    """Each page has a script; scripted products need a browser, lists and other products do not."""
    scripted, plain = (range(start, start + 30) for start in (0, 100))
    lists = [f"/c/{number}" for number in range(6)]
    pages: dict[str, Any] = {"/c/all": measured(anchors(*lists))}
    for number, path in enumerate(lists):
        links = [f"/p/js/{one}" for one in scripted[number::6]] + [f"/p/{one}" for one in plain[number::6]]
        pages[path] = measured(anchors(*links))
    pages |= {f"/p/js/{number}": filled(priced(number)) for number in scripted}
    pages |= {f"/p/{number}": measured(priced(number)) for number in plain}
    server = shop_of(web, sites, pages)

    workers = crawl_by_two(fleet, server, browser_folder)

    items = [json.loads(line) for out in fleet.folder.glob("*.jsonl") for line in out.read_text().splitlines()]
    assert sorted(item["sku"] for item in items) == sorted(f"L-{number}" for number in (*scripted, *plain))
    told = [routes_in(worker) for worker in workers]
    assert all(sum(routes.values()) for routes in told), "one worker did it all"
    rendered = sum(sum(routes[route] for route in RENDERED) for routes in told)
    print(f"{len(scripted)} pages need a browser, {rendered} were rendered: {[dict(routes) for routes in told]}")
    assert len(scripted) <= rendered <= 1.1 * len(scripted)
    lists_told = [event["route"] for worker in workers for event in worker.events("request", pattern=LISTS)]
    assert Counter(lists_told) == {"same": 2, "http": 5}, "one list of products and one of lists were compared"
    shown = json.loads(fleet.run("frontier", "routes", "shop", "--json").out)["routes"]
    looks = {one["pattern"]: {look: said["more"] for look, said in one["looks"].items()} for one in shown}
    assert looks[LISTS] == {"bare": 0, "full": 0}
    assert looks["product /p/js/*"]["bare"] > 0
    assert looks["product /p/*"] == {"full": 0}
