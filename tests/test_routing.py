"""Routing: which pages of a site with `when = "auto"` get a browser, and that none is lost by it."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from scrapy.http import HtmlResponse
from scrapy.settings import Settings
from scrapy.utils.project import get_project_settings

from crawlers.frontier.connection import Servers
from crawlers.frontier.keys import Keys
from crawlers.routing.evidence import AT_ONCE, Evidence, bounds
from crawlers.routing.findings import Findings, findings_of, may_change
from crawlers.routing.knowledge import Op, SiteKnowledge, field_of
from crawlers.routing.patterns import pattern_of
from crawlers.routing.sharing import SharedRoutes
from crawlers.site_config import Site, UrlRules
from deploy.demo_shop import DemoShop
from deploy.demo_shop.catalog import SCROLL_FIRST
from tests.fleet import FrontierSeine
from tests.polling import eventually
from tests.routing_shop import (
    LISTS,
    PRODUCTS,
    RENDERED,
    Web,
    anchors,
    filled,
    measured,
    priced,
    product,
    routes_in,
    shop_of,
)
from tests.servers.redis import RedisServer
from tests.servers.tcp_proxy import TcpProxy
from tests.servers.web import Page

SHOP = Site("shop", ("shop.example",), product=UrlRules(allow=("/p/",)), follow=UrlRules(allow=("/c/",)))


# --- Patterns


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/", "page /"),
        ("", "page /"),
        ("/?p=12", "page /?p"),
        ("/about", "page /*"),
        ("/c/lamps?page=2", LISTS),
        ("/p/lamp-17", PRODUCTS),
        ("/js/p/%E8%8A%B1", "product /js/p/*"),
        ("/2024/lamps/", "page /*/*"),
        ("/women/dresses/red/long.html", "page /women/dresses/*/*"),
        ("/index.php?id=3&a=", "page /index.php?a&id"),
    ],
)
def test_a_pattern_is_what_pages_of_a_kind_have_in_common(path: str, pattern: str) -> None:
    assert pattern_of(f"http://shop.example{path}", SHOP) == pattern


def test_patterns_of_the_site_go_first() -> None:
    rules = type(SHOP.browser)(patterns=("/c/new-", "/c/"))
    site = Site("shop", ("shop.example",), browser=rules)
    assert [pattern_of(f"http://shop.example{path}", site) for path in ("/c/new-1", "/c/old", "/d/x")] == [
        "page /c/new-",
        "page /c/",
        "page /d/*",
    ]


def test_too_many_patterns_are_one() -> None:
    known = SiteKnowledge()
    named = {known.named(f"page /{number}") for number in range(2000)}
    assert len(named) == 501
    assert "page …" in named


# --- Findings


def found(body: str, path: str = "/c/lamps") -> Findings:
    url = f"http://shop.example{path}"
    return findings_of(HtmlResponse(url, body=f"<html><body>{body}</body></html>".encode()), SHOP, url)


def test_a_list_is_bare_without_products_and_a_product_without_its_price() -> None:
    assert found(anchors("/c/other", "/about")).look == "bare"
    assert found(anchors("/p/1")).look == "full"
    assert found(product(), "/p/1").look == "bare"
    assert found(product(price="3.00", priceCurrency="EUR"), "/p/1").look == "full"


def test_more_is_a_product_a_price_or_links_that_http_lacks() -> None:
    priced = product(price="3.00", priceCurrency="EUR")
    for rendered, plain, path, is_more in (
        (priced, "", "/p/1", True),
        (priced, product(), "/p/1", True),
        (priced, product(price="2.00", priceCurrency="EUR"), "/p/1", True),
        (priced, priced, "/p/1", False),
        (priced + anchors("/p/2", "/p/3"), priced, "/p/1", False),
        (anchors("/p/1", "/p/2"), anchors("/p/1"), "/c/lamps", True),
        (anchors("/p/1", "/p/2"), anchors("/p/1", "/p/3"), "/c/lamps", False),
        (anchors("/p/1", "/c/other"), anchors("/p/1"), "/c/lamps", False),
        (anchors("/p/1", "/c/lamps?page=2"), anchors("/p/1"), "/c/lamps", True),
        (anchors("/p/1", "/c/lamps/2"), anchors("/p/1"), "/c/lamps", True),
        ("", anchors("/p/1"), "/c/lamps", False),
    ):
        assert found(rendered, path).is_more_than(found(plain, path)) == is_more, (rendered, plain)


@pytest.mark.parametrize(
    ("html", "changes"),
    [
        ("<p>on sale = today</p>", False),
        ('<script type="application/ld+json">{}</script><SCRIPT type=application/json>1</SCRIPT>', False),
        ("<script>x</script>", True),
        ('<script src="/a.js" type="module"></script>', True),
        ('<body onload="fill()">', True),
        ('<iframe src="/x"></iframe>', True),
        ('<meta http-equiv="refresh" content="0;url=/x">', True),
    ],
)
def test_only_what_has_scripts_frames_or_a_refresh_may_change(html: str, changes: bool) -> None:
    assert may_change(html.encode()) == changes


# --- Evidence


def evidence(*comparisons: bool) -> Evidence:
    one = Evidence()
    for is_more in comparisons:
        one.note(is_more=is_more)
    return one


def test_bounds_are_wilsons() -> None:
    assert bounds(0, 0) == (0, 1)
    assert bounds(0, 10) == pytest.approx((0, 0.213), abs=0.001)
    assert bounds(5, 10) == pytest.approx((0.269, 0.731), abs=0.001)


def test_a_fifth_with_more_is_enough_for_the_browser() -> None:
    assert evidence().way is None
    assert evidence(True).way == "browser"
    assert evidence(False).way == "http"
    assert evidence(True, *[False] * 4).way == "browser"
    assert evidence(True, *[False] * 5).way == "http"


def test_the_surer_the_rarer_it_is_checked() -> None:
    def pages_between(comparisons: int) -> int:
        one = evidence(*[False] * comparisons)
        while not one.is_due(500):
            one.since += 1
        return one.since

    between = [pages_between(number) for number in (0, 1, 5, 20)]
    assert between == sorted(between)
    assert (between[0], between[-1] > 4000) == (500, True)


def test_news_are_checked_with_the_next_page_and_old_comparisons_fade() -> None:
    assert evidence(False, False, True).since == AT_ONCE
    assert evidence(False, False, True, True).since == 0
    changed = evidence(*[False] * 1000)
    for _ in range(6):
        changed.note(is_more=True)
    assert changed.way == "browser"


def test_what_surely_needs_a_browser_is_not_asked_for_by_http_first() -> None:
    known = SiteKnowledge()
    ways = []
    for _ in range(3):
        known.apply(Op("more", field_of("bare", PRODUCTS)))
        ways.append(known.way_at_once(PRODUCTS))
    assert ways == ["http", "http", "browser"]
    known.apply(Op("pages", field_of("bare", PRODUCTS), 20))
    assert known.way_at_once(PRODUCTS) == "http"
    known.apply(Op("more", field_of("bare", PRODUCTS)))
    known.apply(Op("same", field_of("static", PRODUCTS)))
    assert known.way_at_once(PRODUCTS) == "http", "where HTTP is enough for some, it tells which"


# --- The fleet's


def routes_of(redis_url: str, namespace: str) -> SharedRoutes:
    settings = Settings({**get_project_settings().copy_to_dict(), "REDIS_URL": redis_url, "REDIS_TIMEOUT": 2})
    return SharedRoutes(["shop"], Servers.from_settings(settings), Keys(namespace, "spider"))


def test_workers_and_redis_reckon_the_same(redis_server: RedisServer) -> None:
    choice = random.Random(5)
    ops = [
        Op(choice.choice(("pages", "more", "same", "same")), choice.choice(("full a", "bare a", "full b")), 3)
        for _ in range(200)
    ]

    async def exchange() -> None:
        namespace = f"test-{secrets.token_hex(4)}"
        one, other = (routes_of(redis_server.url, namespace) for _ in range(2))
        alone = SiteKnowledge()
        for op in ops:
            alone.apply(op)
            await one.tell("shop", op)
        await other.open()
        known = other.known("shop")
        for name, mine in alone.evidence.items():
            theirs = known.evidence[name]
            assert (theirs.more, theirs.same) == pytest.approx((mine.more, mine.same), abs=0.01)
            assert min(theirs.since, AT_ONCE) == min(mine.since, AT_ONCE)
        await one.close()
        await other.close()

    asyncio.run(exchange())


def test_one_worker_at_a_time_compares_a_page_of_a_pattern(redis_server: RedisServer) -> None:
    async def exchange() -> None:
        namespace = f"test-{secrets.token_hex(4)}"
        one, other = (routes_of(redis_server.url, namespace) for _ in range(2))
        claim = Op("claim", "full a", 60_000)
        assert await one.tell("shop", claim)
        assert not await other.tell("shop", claim)
        assert await other.tell("shop", Op("claim", "full b", 60_000))
        await one.tell("shop", Op("same", "full a"))
        assert await other.tell("shop", claim)
        assert other.known("shop").of("a", "full").way == "http"
        await other.tell("shop", Op("release", "full a"))
        assert await one.tell("shop", Op("claim", "full a", 1))
        await one.close()
        await other.close()

    asyncio.run(exchange())


def test_without_redis_a_worker_goes_by_what_it_sees_and_tells_it_later(
    redis_server: RedisServer, nowhere: str
) -> None:
    async def exchange() -> None:
        namespace = f"test-{secrets.token_hex(4)}"
        cut_off, other = routes_of(f"redis://{nowhere}", namespace), routes_of(redis_server.url, namespace)
        await cut_off.open()
        assert await cut_off.tell("shop", Op("claim", "full a", 60_000))
        await cut_off.tell("shop", Op("more", "full a"))
        cut_off.note("shop", Op("pages", "full b", 7))
        assert cut_off.known("shop").of("a", "full").way == "browser"
        cut_off._servers = other._servers
        await cut_off.close()
        await other.open()
        assert other.known("shop").of("a", "full").way == "browser"
        assert other.known("shop").of("b", "full").since == 7
        await other.close()

    asyncio.run(exchange())


def test_what_is_being_told_when_a_worker_closes_is_not_forgotten(redis_server: RedisServer) -> None:
    async def exchange() -> None:
        namespace = f"test-{secrets.token_hex(4)}"
        other = routes_of(redis_server.url, namespace)
        with TcpProxy(redis_server.port) as network:
            closing = routes_of(network.url, namespace)
            await closing.open()
            closing.note("shop", Op("pages", "full a", 7))
            network.stall()
            await eventually(closing._lock.locked, "it does not tell")
            closing._servers = other._servers
            closed = asyncio.ensure_future(closing.close())
            await asyncio.sleep(0)
        await closed
        await other.open()
        assert other.known("shop").of("a", "full").since == 7
        await other.close()

    asyncio.run(exchange())


# --- Crawls with a real browser


def test_the_demo_shop_is_had_whole_with_a_tenth_more_pages_rendered_than_need_it(
    fleet: FrontierSeine, sites: Path, shop: DemoShop, browser_folder: Path
) -> None:
    """Its scripted products and lists, and lists that grow as one scrolls, need a browser; nothing else does."""
    scrolls = "actions = [{ scroll = 20 }, { scroll = 20 }]"  # a busy machine may take longer than one waits
    rules = f'\n[browser]\nwhen = "auto"\nwait_until = "networkidle"\n{scrolls}\n'
    (sites / "demo.toml").write_text(shop.site_toml() + rules)
    rows = [row for row in shop.truth() if not row["closed"] and row["markup"] != "visible"]
    scripted = [row for row in rows if row["section"] in ("js", "scroll")]
    wanted = {row["sku"] for row in rows if row["reachable"]} | {row["sku"] for row in scripted}
    sections = Counter((row["section"], urlsplit(row["url"]).netloc, row["breadcrumbs"][1]) for row in scripted)
    lists = [number > SCROLL_FIRST for (section, *_), number in sections.items() if section == "scroll"]
    lists += [True for section, *_ in sections if section == "js"]
    needing = sum(row["needs_js"] for row in scripted) + sum(lists)

    out = fleet.folder / "first.jsonl"
    settings = {"BROWSER_TMP_DIR": browser_folder, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}
    first = fleet.crawl("-O", str(out), timeout=400, **settings)

    assert first.code == 0, first.err[-2000:]
    assert not wanted - {json.loads(line)["sku"] for line in out.read_text().splitlines()}
    told = routes_in(first)
    rendered = sum(told[route] for route in RENDERED)
    print(f"{needing} pages need a browser, {rendered} were rendered: {dict(told)}")
    assert needing <= rendered <= 1.1 * needing, told

    again = fleet.folder / "again.jsonl"
    second = fleet.crawl("-O", str(again), timeout=400, **settings)

    assert second.code == 0, second.err[-2000:]
    assert not wanted - {json.loads(line)["sku"] for line in again.read_text().splitlines()}
    told = routes_in(second)
    rendered = sum(told[route] for route in RENDERED)
    print(f"in the next crawl {rendered} were rendered: {dict(told)}")
    assert needing <= rendered <= 1.05 * needing, told
    assert told["browser"] > told["more"], "most are not asked for by HTTP first"
    shown = fleet.run("frontier", "routes", "demo")
    assert shown.code == 0, shown.err
    print(shown.out)


def test_a_page_that_http_has_nothing_of_is_rendered_in_the_same_lease(
    fleet: FrontierSeine, sites: Path, web: Web, browser_folder: Path
) -> None:
    """Of one pattern, some pages are scripts and some are not: each gets what it needs."""
    pages: dict[str, Any] = {"/c/all": measured(anchors(*(f"/p/{number}" for number in range(12))))}
    for number in range(12):
        pages[f"/p/{number}"] = filled(priced(number)) if number % 3 == 0 else measured(priced(number))
    server = shop_of(web, sites, pages)

    finished = fleet.crawl(BROWSER_TMP_DIR=browser_folder, ROBOTSTXT_OBEY=0, DOWNLOAD_DELAY=0)

    assert finished.code == 0, finished.err[-2000:]
    assert len(finished.events("request", outcome="delivered")) == 12
    assert not finished.events("request", outcome="retried")
    had = routes_in(finished)
    assert (had["more"] + had["browser"], had["http"] + had["same"]) == (4, 9), had
    [one] = [event for event in finished.events("request") if event["url"].endswith("/p/0")]
    assert one["route"] in ("more", "browser")
    assert one["pattern"] == PRODUCTS
    told = json.loads(fleet.run("frontier", "why", f"{server.url}/p/0", "--json").out)
    assert told["requests"][0]["fate"] == "delivered"
    assert told["route"]["looks"]["bare"]["more"] == had["more"]
    assert "/p/*" in fleet.run("frontier", "why", f"{server.url}/p/0").out


def test_lists_wait_for_what_the_first_one_shows(
    fleet: FrontierSeine, sites: Path, web: Web, browser_folder: Path
) -> None:
    """All lists begin to be fetched at once: none goes on by HTTP before it is known whether that is enough."""
    lists = [f"/c/{number}" for number in range(8)]
    pages: dict[str, Any] = {"/c/all": measured(anchors(*lists))}
    for number, path in enumerate(lists):
        pages[path] = Page(anchors(f"/p/{number}") + filled(anchors(f"/p/{number}-more")).body)
        pages |= {f"/p/{number}": Page(priced(number)), f"/p/{number}-more": Page(priced(100 + number))}
    shop_of(web, sites, pages)

    finished = fleet.crawl(BROWSER_TMP_DIR=browser_folder, ROBOTSTXT_OBEY=0, DOWNLOAD_DELAY=0)

    assert finished.code == 0, finished.err[-2000:]
    assert len(finished.events("request", outcome="delivered")) == 16
    told = Counter(event["route"] for event in finished.events("request", pattern=LISTS))
    assert told["more"] + told["browser"] == 8
    assert told["same"] == 1


def test_a_shop_that_has_come_to_need_a_browser_is_noticed(
    fleet: FrontierSeine, sites: Path, web: Web, browser_folder: Path
) -> None:
    """From its third list on, a script adds some of the products: HTTP's page still looks full."""
    chain = ["/c/all", *(f"/c/{number}" for number in range(1, 6))]
    pages: dict[str, Any] = {}
    for number, (path, following) in enumerate(zip(chain, [*chain[1:], ""], strict=True)):
        shown, more = anchors(f"/p/{number}", *[following] * bool(following)), anchors(f"/p/{number}-more")
        pages[path] = measured(shown + more) if number < 2 else Page(shown + filled(more).body)
        pages |= {f"/p/{number}": Page(priced(number)), f"/p/{number}-more": Page(priced(100 + number))}
    server = shop_of(web, sites, pages)

    finished = fleet.crawl(BROWSER_TMP_DIR=browser_folder, ROBOTSTXT_OBEY=0, DOWNLOAD_DELAY=0, ROUTING_SLIPS=1)

    assert finished.code == 0, finished.err[-2000:]
    routes = {event["url"].removeprefix(server.url): event["route"] for event in finished.events("request")}
    told = [routes[path] for path in chain]
    print(told)
    assert (told[0], "more" in told[:5]) == ("same", True), "compared at first, and again"
    noticed = told.index("more")
    assert set(told[noticed:]) <= {"more", "browser"}
    assert {f"/p/{number}-more" for number in range(noticed, len(chain))} <= routes.keys()


def test_the_operators_word_goes_before_what_was_learnt(
    fleet: FrontierSeine, sites: Path, web: Web, browser_folder: Path
) -> None:
    pages: dict[str, Any] = {
        "/c/all": measured(anchors("/p/0", "/p/1")),
        "/p/0": Page(priced(0)),
        "/p/1": filled(priced(1)),
    }
    shop_of(web, sites, pages)
    assert fleet.run("frontier", "routes", "shop", "--http", LISTS).code == 0
    said = fleet.run("frontier", "routes", "shop", "--browser", PRODUCTS, "--json")
    assert json.loads(said.out)["routes"] == [
        {"pattern": LISTS, "route": "http, as was said", "looks": {}},
        {"pattern": PRODUCTS, "route": "browser, as was said", "looks": {}},
    ]

    finished = fleet.crawl(BROWSER_TMP_DIR=browser_folder, ROBOTSTXT_OBEY=0, DOWNLOAD_DELAY=0)

    assert finished.code == 0, finished.err[-2000:]
    assert routes_in(finished) == {"http": 1, "browser": 2}
    taken_back = fleet.run("frontier", "routes", "shop", "--learn", PRODUCTS, "--json")
    assert [one["pattern"] for one in json.loads(taken_back.out)["routes"]] == [LISTS]


def test_a_browser_that_fails_costs_no_page(fleet: FrontierSeine, sites: Path, web: Web, browser_folder: Path) -> None:
    """What HTTP has nothing of is retried; what it has is used, in the end."""
    pages: dict[str, Any] = {
        "/c/all": measured(anchors("/p/0", "/p/1")),
        "/p/0": Page(priced(0)),
        "/p/1": filled(priced(1)),
    }
    server = shop_of(web, sites, pages, 'wait_for = "#never"')

    finished = fleet.crawl(
        BROWSER_TMP_DIR=browser_folder,
        ROBOTSTXT_OBEY=0,
        DOWNLOAD_DELAY=0,
        DOWNLOAD_TIMEOUT=2,
        RETRY_TIMES=1,
        RETRY_BACKOFF_SECONDS=0.01,
    )

    ended = {(event["url"].removeprefix(server.url), event["outcome"]): event for event in finished.events("request")}
    assert ended["/c/all", "expanded"]["route"] == "failed"
    assert ("/p/0", "delivered") in ended
    assert ended["/p/1", "dead"]["reason"] == "DownloadTimeoutError"
    assert ("/p/1", "retried") in ended


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("shop", "--http", "/p/*"), 'such as "product /p/*"'),
        (("shop", "--http", LISTS, "--browser", LISTS), "exclude each other"),
        (("plain",), "routes are those of sites with"),
        (("nobody",), "unknown site 'nobody'"),
    ],
)
def test_a_mistake_is_named(fleet: FrontierSeine, sites: Path, args: tuple[str, ...], message: str) -> None:
    for name, when in (("shop", "auto"), ("plain", "never")):
        text = f'name = "{name}"\ndomains = ["{name}.example"]\n[browser]\nwhen = "{when}"\n'
        (sites / f"{name}.toml").write_text(text)
    finished = fleet.run("frontier", "routes", *args)
    assert finished.code == 2
    assert message in finished.err
    assert len(finished.err.splitlines()) == 1
