"""robots.txt: one copy for the fleet, obeyed as RFC 9309 has it; and what pages ask of robots themselves."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from scrapy.http import HtmlResponse

from crawlers.frontier.connection import AWAY, Servers
from crawlers.frontier.keys import Keys
from crawlers.robots.bounded import Bounded
from crawlers.robots.directives import _META, directives_of, token_of
from crawlers.robots.fetching import MOST_BYTES
from crawlers.robots.reducing import MOST_RULES, reduce_robots
from crawlers.robots.store import LocalStore, RedisStore, pause_after
from tests.fleet import Ended, FrontierSeine, links
from tests.servers.redis import RedisServer
from tests.servers.web import Page, WebServer
from tests.support import Finished, Seine

Web = Callable[..., WebServer]
TEXT = {"Content-Type": "text/plain"}
PRIVATE = Page("User-agent: *\nDisallow: /private", headers=TEXT)
SITE = {"/": links("/private", "/open"), "/open": Page("x"), "/private": Page("x")}


def crawl(fleet: FrontierSeine, server: WebServer, **settings: Any) -> Ended:
    return fleet.crawl_from(server, "/", ROBOTSTXT_OBEY=1, **settings)


def why(fleet: FrontierSeine, url: str) -> dict[str, Any]:
    """What `frontier why` tells of the one request for it."""
    options = ("--spider", "path_spider", "--json", "-s", "SPIDER_MODULES=tests.spiders")
    [answer] = json.loads(fleet.run("frontier", "why", url, *options).out)["requests"]
    return dict(answer)


def paths(server: WebServer) -> list[str]:
    return sorted(visit.path for visit in server.visits)


# --- The file


def test_what_is_forbidden_is_filtered_and_why_tells_it(fleet: FrontierSeine, web: Web) -> None:
    server = web({**SITE, "/robots.txt": PRIVATE})
    ended = crawl(fleet, server)
    assert paths(server) == ["/", "/open", "/robots.txt"]
    assert ended.of("filtered:robots", "empty", "expanded") == {"filtered:robots": 1, "empty": 1, "expanded": 1}
    answer = why(fleet, f"{server.url}/private")
    assert (answer["fate"], answer["reason"]) == ("filtered", "robots")


def test_a_fleet_fetches_it_once(fleet: FrontierSeine, web: Web) -> None:
    many = [f"/open-{n}" for n in range(40)]
    server = web({"/": links(*many), "/robots.txt": PRIVATE})
    server.latency = 0.05
    options = fleet.options(ROBOTSTXT_OBEY=1, FRONTIER_CRAWL_ID="together")
    workers = [fleet.start("crawl", "path_spider", "-a", f"url={server.url}/", *options) for _ in range(3)]
    outputs = [worker.communicate(timeout=90) for worker in workers]
    assert len(server.visits_of("/robots.txt")) == 1
    assert set(many) <= set(paths(server))
    fleet.ended(Finished(0, *outputs[0]), server)
    crawl(fleet, server, FRONTIER_CRAWL_ID="next")
    assert len(server.visits_of("/robots.txt")) == 1, "the next crawl uses the same copy"


def test_while_it_is_unreachable_nothing_is_fetched_and_nothing_is_lost(fleet: FrontierSeine, web: Web) -> None:
    """5xx: the fleet asks again after a pause, and the request waits for that."""
    server = web({**SITE, "/robots.txt": lambda earlier: PRIVATE if earlier else Page("", 503)})
    ended = crawl(fleet, server)
    assert [visit.path for visit in server.visits][:3] == ["/robots.txt", "/robots.txt", "/"]
    first, second = server.visits_of("/robots.txt")
    assert second - first > 0.9
    assert ended.of("filtered:robots", "empty") == {"filtered:robots": 1, "empty": 1}


@pytest.mark.parametrize("status", [503, 429])
def test_an_unreachable_one_is_left_alone_as_long_as_it_asks_for(fleet: FrontierSeine, web: Web, status: int) -> None:
    busy = Page("", status, {"Retry-After": "2"})
    server = web({**SITE, "/robots.txt": lambda earlier: PRIVATE if earlier else busy})
    ended = crawl(fleet, server)
    first, second = server.visits_of("/robots.txt")
    assert second - first > 1.9
    assert ended.of("filtered:robots", "empty") == {"filtered:robots": 1, "empty": 1}


@pytest.mark.parametrize("status", [500, 429])
def test_what_stays_unreachable_ends_as_that(fleet: FrontierSeine, web: Web, status: int) -> None:
    server = web({**SITE, "/robots.txt": Page("", status)})
    ended = crawl(fleet, server, RETRY_TIMES=1)
    assert ended.dead == {"/": ["robots unreachable", "robots unreachable"]}
    assert set(paths(server)) == {"/robots.txt"}


def test_a_stale_copy_is_obeyed_while_no_new_one_can_be_had(fleet: FrontierSeine, web: Web) -> None:
    server = web({**SITE, "/robots.txt": lambda earlier: Page("", 500) if earlier else PRIVATE})
    crawl(fleet, server)
    ended = crawl(fleet, server, ROBOTSTXT_TTL=0.001, FRONTIER_CRAWL_ID="later")
    assert len(server.visits_of("/robots.txt")) > 1
    assert server.visits_of("/private") == []
    assert ended.counts["filtered:robots"] == 1


def test_what_was_unreachable_for_too_long_is_as_good_as_none(fleet: FrontierSeine, web: Web) -> None:
    server = web({**SITE, "/robots.txt": Page("", 500)})
    ended = crawl(fleet, server, ROBOTSTXT_STALE=2, RETRY_TIMES=5)
    assert ended.of("empty", "expanded") == {"empty": 2, "expanded": 1}


def test_an_old_copy_is_fetched_anew(fleet: FrontierSeine, web: Web) -> None:
    server = web({**SITE, "/robots.txt": lambda earlier: Page("", headers=TEXT) if earlier else PRIVATE})
    crawl(fleet, server)
    crawl(fleet, server, ROBOTSTXT_TTL=0.001, FRONTIER_CRAWL_ID="later")
    assert len(server.visits_of("/private")) == 1


def chain(redirects: int) -> dict[str, Page]:
    steps = [f"/robots-{n}" for n in range(redirects)]
    pages = {step: Page("", 302, {"Location": after}) for step, after in zip(steps, [*steps[1:], "/last"], strict=True)}
    return {**pages, "/robots.txt": pages.pop("/robots-0", Page("", 302, {"Location": "/last"})), "/last": PRIVATE}


def test_every_origin_has_its_own_and_each_answer_its_meaning(fleet: FrontierSeine, web: Web) -> None:
    long = "# " + "x" * MOST_BYTES
    big = PRIVATE.body + "\n" + "# more\n" * 80_000 + "\nUser-agent: *\nDisallow: /open\n"
    robots: dict[str, tuple[dict[str, Any], bool]] = {
        "none": ({}, True),
        "forbidden": ({"/robots.txt": Page("", 403)}, True),
        "five redirects": (chain(5), False),
        "six redirects": (chain(6), True),
        "a page": ({"/robots.txt": Page("<html><p>Welcome</p>")}, True),
        "more than is read": ({"/robots.txt": Page(big, headers=TEXT)}, False),
        "a line over all that is read": ({"/robots.txt": Page(PRIVATE.body.replace("\n", "\r") + "\r" + long)}, False),
        "for us": ({"/robots.txt": Page("User-agent: seine\nDisallow: /private\nUser-agent: *\nDisallow: /")}, False),
        "for others": ({"/robots.txt": Page("User-agent: otherbot\nDisallow: /")}, True),
    }
    servers = {name: web({**SITE, **pages}) for name, (pages, _) in robots.items()}
    start = web({"/": links(*(f"{server.url}/" for server in servers.values()))})
    crawl(fleet, start)
    for name, server in servers.items():
        assert len(server.visits_of("/open")) == 1, name
        assert bool(server.visits_of("/private")) == robots[name][1], name


def test_one_that_is_another_domains_is_fetched_there_once(fleet: FrontierSeine, web: Web) -> None:
    """By whichever of them is asked first, and the same rules hold for both."""
    there = web({**SITE, "/robots.txt": PRIVATE})
    here = web({**SITE, "/robots.txt": Page("", 301, {"Location": f"{there.url}/robots.txt"})})
    third = web({**SITE, "/robots.txt": Page("", 302, {"Location": f"{there.url}/robots.txt"})})
    for number, server in enumerate((here, there, third)):
        crawl(fleet, server, FRONTIER_CRAWL_ID=f"crawl-{number}")
        assert paths(server)[:2] == ["/", "/open"]
        assert server.visits_of("/private") == []
    assert len(there.visits_of("/robots.txt")) == 1


def test_two_that_lead_to_each_other_are_as_good_as_none(fleet: FrontierSeine, web: Web) -> None:
    pair = web(dict(SITE)), web(dict(SITE))
    for one, other in (pair, pair[::-1]):
        one.pages["/robots.txt"] = Page("", 302, {"Location": f"{other.url}/robots.txt"})
    crawl(fleet, pair[0])
    assert len(pair[0].visits_of("/private")) == 1
    assert sum(len(one.visits_of("/robots.txt")) for one in pair) <= 7


def test_without_redis_a_worker_has_its_own_copy(offline: Seine, web: Web) -> None:
    server = web({**SITE, "/robots.txt": PRIVATE})
    finished = offline.crawl("-a", f"urls={server.url}/", "-a", "follow=1")
    assert paths(server) == ["/", "/open", "/robots.txt"]
    assert [event["reason"] for event in finished.events("request", outcome="filtered")] == ["robots"]


def test_a_site_may_be_excepted(offline: Seine, web: Web, sites: Any) -> None:
    server = web({**SITE, "/robots.txt": PRIVATE})
    (sites / "mine.toml").write_text(
        f'name = "mine"\ndomains = ["{server.domain}"]\nseeds = ["{server.url}/"]\n[robots]\nobey = false\n'
    )
    offline.crawl("-a", "sites=mine")
    assert paths(server) == ["/", "/open", "/private"]


# --- What of it is ours


@pytest.mark.parametrize(
    ("body", "reduced"),
    [
        ("User-agent: other\nDisallow: /", []),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b # but\n", ["Disallow: /a", "Allow: /a/b"]),
        ("User-agent: *\nDisallow: /\nUser-agent: SEINE/2.0\nDisallow: /a", ["Disallow: /a"]),
        ("User-agent: seine\nDisallow:\nUser-agent: *\nDisallow: /", []),
        ("User-agent: sei\nUser-agent: bot\nUser-agent: example\nDisallow: /", []),
        ("User-agent: a\nUser-agent: seine\n\nUser-agent: b\nDisallow: /a", ["Disallow: /a"]),
        ("User-agent: seine\nDisallow: /a\nUser-agent: a\nDisallow: /\nUser-agent: seine\nDisallow: /b",
         ["Disallow: /a", "Disallow: /b"]),
        ("User-agent: seine\nSitemap: https://a.test/\nUnknown: 1\nDisallow: /a\nnonsense\nDisallow: /b",
         ["Disallow: /a", "Disallow: /b"]),
        ("User-agent: seine\nUnknown: 1\nUser-agent: a\nDisallow: /a", ["Disallow: /a"]),
        ("\ufeffuser agent seine\r\ndisalow /a:b\rcrawl-delay: 2\nCrawl-delay: nan",
         ["Crawl-delay: 2.0", "Disallow: /a:b"]),
        ("Disallow: /\n\nUser-agent: *\n", []),
        ("User-agent: 123\nDisallow: /", []),
    ],
)  # fmt: skip
def test_the_groups_of_our_token_hold_together_and_before_those_of_everybody(body: str, reduced: list[str]) -> None:
    expected = "\n".join(["User-agent: *", *reduced]) if reduced else ""
    assert reduce_robots(body.encode(), "seine").decode() == expected


def test_agents_times_rules_are_never_parsed() -> None:
    agents = [f"User-agent: {name}" for n in range(3000) for name in (f"a{n}", "seine", "*")]
    rules = [f"Allow: /{n}" for n in range(MOST_RULES + 100)]
    reduced = reduce_robots("\n".join([*agents, *rules, *rules, "Crawl-delay: 1"]).encode(), "seine").decode()
    assert reduced.splitlines() == ["User-agent: *", "Crawl-delay: 1.0", *rules[:MOST_RULES]]


def test_the_fleet_keeps_and_obeys_the_rules_of_the_agents_first_word(fleet: FrontierSeine, web: Web) -> None:
    text = "User-agent: bot\nAllow: /\n\nUser-agent: *\nDisallow: /private\nCrawl-delay: 0.01"
    server = web({**SITE, "/robots.txt": Page(text, headers=TEXT)})
    crawl(fleet, server, USER_AGENT="Shopper (+https://shopper.example/bot)")
    assert server.visits_of("/private") == []
    key = f"{fleet.keys.shard(0)}:robots:shopper:{server.url}"
    assert zlib.decompress(fleet.redis.get(key)) == b"User-agent: *\nCrawl-delay: 0.01\nDisallow: /private"  # type: ignore[arg-type]
    crawl(fleet, server, USER_AGENT="bot", FRONTIER_CRAWL_ID="later")
    assert len(server.visits_of("/private")) == 1


# --- The stores


def test_what_was_used_longest_ago_makes_room() -> None:
    kept: Bounded[str] = Bounded(10)
    for key in "abc":
        kept.put(key, key.upper(), 4)
        kept.get("a")
    assert [kept.get(key) for key in "abc"] == ["A", None, "C"]
    kept.put("c", "smaller", 1)
    kept.put("d", "D", 5)
    assert [kept.get(key) for key in "acd"] == ["A", "smaller", "D"]
    kept.put("e", "more than fits", 100)
    assert len(kept) == 1


def test_a_worker_without_redis_keeps_no_more_than_so_many_bytes() -> None:
    async def scene() -> None:
        store = LocalStore(60, 60)
        store._entries = Bounded(2000)
        for number in range(100):
            await store.take_turn(f"https://{number}.example")
            await store.put(f"https://{number}.example", b"x" * 100)
        assert len(store._entries) == 3
        assert await store.look("https://99.example") is not None

    asyncio.run(scene())


@pytest.fixture(params=["local", "redis"])
def store(request: pytest.FixtureRequest, redis_server: RedisServer, fleet: FrontierSeine) -> Callable[..., Any]:
    def make(keep: float = 60, turn: float = 60) -> LocalStore | RedisStore:
        if request.param == "local":
            return LocalStore(keep, turn)
        servers = Servers({}, redis_server.url, "", "", cluster=False)
        return RedisStore(servers, fleet.keys, "seine", keep, turn)

    return make


ORIGIN = "https://shop.example"


def test_a_turn_is_one_workers_until_the_copy_is_there(store: Callable[..., Any]) -> None:
    async def scene() -> None:
        shared = store()
        assert await shared.look(ORIGIN) is None
        assert (await shared.take_turn(ORIGIN)).is_ours
        second = await shared.take_turn(ORIGIN)
        assert (second.is_ours, second.is_fetching) == (False, True)
        assert 50 < second.wait <= 60
        await shared.put(ORIGIN, b"Disallow: /")
        copy = await shared.look(ORIGIN)
        assert copy.body == b"Disallow: /"
        assert 0 <= copy.age < 5
        assert (await shared.take_turn(ORIGIN)).is_ours

    asyncio.run(scene())


def test_pauses_grow_until_there_is_a_copy_again(store: Callable[..., Any]) -> None:
    async def scene() -> None:
        shared = store()
        await shared.take_turn(ORIGIN)
        assert [(await shared.miss(ORIGIN)).pause for _ in range(4)] == [1, 2, 4, 8]
        turn = await shared.take_turn(ORIGIN)
        assert (turn.is_ours, turn.is_fetching) == (False, False)
        assert 7 < turn.wait <= 8
        await shared.put(ORIGIN, b"")
        assert (await shared.miss(ORIGIN)).pause == 1
        assert (await shared.miss(ORIGIN, 30.0)).pause == 30

    asyncio.run(scene())


def test_a_dead_workers_turn_ends_and_a_copy_too(store: Callable[..., Any]) -> None:
    async def scene() -> None:
        shared = store(keep=0.5, turn=0.5)
        await shared.put("https://other.example", b"x")
        await shared.take_turn(ORIGIN)
        turn = await shared.take_turn(ORIGIN)
        assert not turn.is_ours
        await asyncio.sleep(turn.wait + 0.002)  # Redis tells whole milliseconds
        assert (await shared.take_turn(ORIGIN)).is_ours
        assert await shared.look("https://other.example") is None

    asyncio.run(scene())


def test_a_store_that_is_away_says_so_and_works_again_afterwards(redis_server: RedisServer, nowhere: str) -> None:
    async def scene() -> None:
        host, port = nowhere.split(":")
        away = Servers({"host": host, "port": int(port)}, None, "", "", cluster=False)
        shared = RedisStore(away, Keys("test-away", "spider"), "seine", 60, 60)
        with pytest.raises(AWAY):
            await shared.look(ORIGIN)
        shared._servers = Servers({}, redis_server.url, "", "", cluster=False)
        assert await shared.look(ORIGIN) is None
        await shared.close()

    asyncio.run(scene())


def test_a_pause_has_an_end() -> None:
    assert pause_after(100) == 300


def test_a_copy_that_is_never_stale_is_refused(offline: Seine) -> None:
    ended = offline.crawl("-a", "urls=http://a.test/", ROBOTSTXT_STALE=0)
    assert (ended.code, "ROBOTSTXT_STALE=0: expected a number above 0" in ended.err) == (2, True)


# --- The pages


def test_an_element_ends_where_the_next_one_begins() -> None:
    """So that a page of elements that never end is not read to its end for each of them."""
    assert _META.findall(b"<meta " * 3 + b">") == [b"<meta >"]


def page(head: str = "", *tags: str) -> HtmlResponse:
    html = f"<!doctype html><html><head>{head}</head><body>robots</body></html>"
    return HtmlResponse("http://a.test/", body=html.encode(), headers={"X-Robots-Tag": list(tags)})


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (page(), set()),
        (page('<meta name="robots" content="noindex, nofollow">'), {"noindex", "nofollow"}),
        (page("<META CONTENT='NoIndex' NAME=ROBOTS>"), {"noindex"}),
        (page('<meta name="robots" content="none">'), {"noindex", "nofollow"}),
        (page('<meta name="googlebot" content="noindex">'), set()),
        (page('<meta name="robots" content="all"><meta name="description" content="noindex">'), set()),
        (page("", "noindex"), {"noindex"}),
        (page("", "otherbot: noindex, nofollow"), set()),
        (page("", "otherbot: noindex", "seine: nofollow"), {"nofollow"}),
        (page("", "unavailable_after: 25 Jun 2030 15:00:00 PST, noindex"), {"noindex"}),
        (page("", "max-snippet: 10, nofollow"), {"nofollow"}),
    ],
)
def test_what_a_page_asks_of_robots(response: HtmlResponse, expected: set[str]) -> None:
    assert directives_of(response, "seine") == expected


def test_the_token_is_the_agents_first_word() -> None:
    assert token_of("Seine (+https://example.org/seine-bot)") == "seine"
    assert token_of("My-Bot/2.0") == "my-bot"


NOINDEX = Page('<head><meta name="robots" content="noindex"></head><a href="/from-noindex">x</a>')
NOFOLLOW = Page('<a href="/from-nofollow">x</a>', headers={"X-Robots-Tag": "nofollow"})
WISHES = {
    "/": links("/item-noindex", "/item-nofollow"),
    "/item-noindex": NOINDEX,
    "/item-nofollow": NOFOLLOW,
    "/from-noindex": Page("x"),
    "/from-nofollow": Page("x"),
}


def test_no_items_of_noindex_and_no_links_of_nofollow(fleet: FrontierSeine, web: Web) -> None:
    server = web(WISHES)
    ended = crawl(fleet, server, STATS_DUMP=1)
    assert ended.of("filtered:robots", "delivered") == {"filtered:robots": 1, "delivered": 1}
    assert len(server.visits_of("/from-noindex")) == 1
    assert server.visits_of("/from-nofollow") == []
    assert ended.counts["filtered:nofollow"] == 1
    assert "'links/refused/nofollow': 1," in ended.finished.err, "among Scrapy's stats"
    told = why(fleet, f"{server.url}/item-noindex")
    assert (told["fate"], told["reason"]) == ("filtered", "robots")


def test_what_is_kept_to_is_the_operators_choice(fleet: FrontierSeine, web: Web) -> None:
    server = web(WISHES)
    ended = crawl(fleet, server, ROBOTS_DIRECTIVES="noindex")
    assert ended.counts["filtered:robots"] == 1
    assert len(server.visits_of("/from-nofollow")) == 1
    finished = fleet.crawl("-a", f"urls={server.url}/", ROBOTS_DIRECTIVES="noarchive")
    assert (finished.code, finished.err) == (
        2,
        "seine: ROBOTS_DIRECTIVES: noarchive: expected noindex or nofollow, comma separated\n",
    )
