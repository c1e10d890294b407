"""How often a page is visited, and what a visit's end says of its product."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import HtmlResponse, Response
from twisted.python.failure import Failure

from crawlers.changes import notes, pages
from crawlers.changes.memory import ProductMemory
from crawlers.changes.pages import Page
from crawlers.changes.topic import Topic
from crawlers.changes.visits import Visits
from crawlers.frontier.keys import Keys
from crawlers.frontier.leases import Lease
from crawlers.identity import Identity
from crawlers.outcomes import RequestRecord
from crawlers.site_config import Changes, Site
from tests.frontier_crawl import servers
from tests.frontier_shard import Shard
from tests.frontier_shard import page as request_for
from tests.servers.redis import RedisServer

HOUR, WEEK = 3600, 604_800
ID, PRINTS, OTHER_PRINTS = b"12345678", bytes(30), bytes(28) + b"\1\1"
KEY = notes.product_key("sku-1")
NOT_MODIFIED = HtmlResponse("http://shop.example/p/1", status=304)


class Scene:
    """A page of a site, as it is remembered, in a real Redis; `end` visits it."""

    def __init__(self, server: RedisServer, retention: float = math.inf, **changes: Any):
        self.shard = Shard(server.client(), test_clock=False)
        self.site = Site(name="shop", domains=("shop.example",), changes=Changes(**changes))
        self.memory = ProductMemory(servers(REDIS_URL=server.url), Keys(self.shard.keys.namespace, "spider"))
        self.memory.topic = Topic("products:id", retention)
        self.request = Request("http://shop.example/p/1")
        self.hour = notes.hour_of(time.time())

    def seen(self, prints: bytes = PRINTS) -> notes.Note:
        return notes.seen("products:id", "shop", "sku-1", self.hour, prints, 0)

    def remember(self, page: Page | None, *, product: bool = True) -> None:
        worker = self.shard.worker()
        told = [self.seen()] if product else []
        told += [notes.page("products:id", "shop", ID, page.to_bytes())] if page else []
        worker.enqueue(request_for(1))
        [lease] = worker.lease(1)
        worker.settle(("settle", lease.id, lease.token, 1, "delivered", "", 0, told))

    def visit(self, outcome: str, result: Any, *told: notes.Note) -> tuple[dict[str, bytes], list[notes.Note]]:
        """(the headers that were asked with, the notes of the visit's end)"""

        async def story() -> tuple[dict[str, bytes], list[notes.Note]]:
            visits = Visits(self.memory, gone_after=3)
            lease = Lease(ID, b"", 0, "shop.example", 0.0, 0.0, 0, b"")
            headers = await visits.begin(self.request, lease, self.site)
            record = RequestRecord(self.request, notes={("shop", str(n)): note for n, note in enumerate(told)})
            if isinstance(result, Response):
                record.status, record.headers = result.status, result.headers
            ended = visits.end(self.request, record, outcome)
            await self.memory.close()
            return headers, list(ended)

        return asyncio.run(story())


def remembered(interval: int = 2 * HOUR, left: int = 2, **fields: Any) -> Page:
    return Page(0, interval, left, KEY, **fields)


def answer(**headers: str) -> HtmlResponse:
    return HtmlResponse("http://shop.example/p/1", headers=headers)


@pytest.mark.parametrize(
    ("known", "prints", "interval"),
    [
        (None, PRINTS, HOUR),
        (remembered(2 * HOUR), PRINTS, 4 * HOUR),
        (remembered(2 * HOUR), OTHER_PRINTS, HOUR),
        (remembered(HOUR), OTHER_PRINTS, HOUR),
        (remembered(6 * HOUR), PRINTS, 10 * HOUR),
    ],
)
def test_a_page_that_changes_is_visited_more_often(
    redis_server: RedisServer, known: Page | None, prints: bytes, interval: int
) -> None:
    scene = Scene(redis_server, min_interval=HOUR, max_interval=10 * HOUR)
    scene.remember(known, product=known is not None)
    before = time.time()
    _, [_, told] = scene.visit("delivered", answer(ETag='"a"'), scene.seen(prints))
    page = Page.read(told[4])  # type: ignore[arg-type]
    assert (page.interval, page.left, page.product, page.etag) == (interval, 2, KEY, b'"a"')
    assert before + interval - 1 <= page.due <= time.time() + interval


def test_a_page_is_due_before_its_record_must_be_repeated(redis_server: RedisServer) -> None:
    scene = Scene(redis_server, retention=4 * HOUR, min_interval=HOUR, max_interval=WEEK)
    scene.remember(remembered(WEEK))
    _, [_, told] = scene.visit("delivered", answer(), scene.seen())
    assert Page.read(told[4]).due <= time.time() + HOUR  # type: ignore[arg-type]


def test_a_browser_like_identity_does_not_know_what_another_visitor_was_told(redis_server: RedisServer) -> None:
    scene = Scene(redis_server)
    scene.remember(remembered(etag=b'"a"', modified=1_700_000_000))
    scene.request.meta["identity"] = Identity("chrome-1", is_browser_like=True)
    headers, [_, told] = scene.visit("delivered", answer(), scene.seen())
    assert (headers, told[0]) == ({}, "page")


def test_leaves_are_skipped_without_limit(redis_server: RedisServer) -> None:
    scene = Scene(redis_server, leaves=True)
    scene.remember(None)
    _, [_, told] = scene.visit("delivered", answer(), scene.seen())
    assert Page.read(told[4]).left == pages.ALWAYS  # type: ignore[arg-type]


def test_a_page_that_was_not_sent_is_noted_as_skipped(redis_server: RedisServer) -> None:
    scene = Scene(redis_server, min_interval=HOUR, max_interval=WEEK)
    scene.remember(remembered(etag=b'"a"', modified=1_700_000_000))
    headers, [told] = scene.visit("delivered", NOT_MODIFIED)
    assert headers == {"If-None-Match": b'"a"', "If-Modified-Since": b"Tue, 14 Nov 2023 22:13:20 GMT"}
    assert (told[0], told[3], told[5]) == ("skipped", ID, 4 * HOUR)


@pytest.mark.parametrize(
    ("page", "product", "changes", "retention"),
    [
        (None, True, {}, math.inf),
        (remembered(etag=b"a"), False, {}, math.inf),
        (remembered(etag=b"a", left=0), True, {}, math.inf),
        (remembered(etag=b"a"), True, {"conditional": False}, math.inf),
        (remembered(etag=b"a"), True, {}, 2.0 * HOUR),
    ],
    ids=["a new page", "a forgotten product", "skipped often enough", "not wanted", "a record to be repeated"],
)
def test_a_page_is_sent_where_it_is_needed(
    redis_server: RedisServer, page: Page | None, product: bool, changes: dict[str, Any], retention: float
) -> None:
    scene = Scene(redis_server, retention, **changes)
    scene.remember(page, product=product)
    headers, _ = scene.visit("delivered", answer(), scene.seen())
    assert headers == {}


@pytest.mark.parametrize("left", [0, 2])
@pytest.mark.parametrize(
    ("result", "vouches"),
    [
        (HtmlResponse("http://shop.example/", status=500), True),
        (Failure(TimeoutError()), True),
        (HtmlResponse("http://shop.example/", status=404), False),
        (HtmlResponse("http://shop.example/", status=410), False),
    ],
)
def test_only_a_page_that_is_not_there_says_something_of_its_product(
    redis_server: RedisServer, result: Any, vouches: bool, left: int
) -> None:
    scene = Scene(redis_server)
    scene.remember(remembered(2 * HOUR, left))
    _, told = scene.visit("dead", result)
    skipped = notes.skipped("products:id", "shop", ID, 0, 2 * HOUR)
    assert told == ([skipped if left else notes.vouched("products:id", "shop", KEY)] if vouches else [])


def test_what_is_to_be_visited_again_is_not_remembered(redis_server: RedisServer) -> None:
    scene = Scene(redis_server)
    scene.remember(remembered())
    for outcome in ("pending", "retried"):
        assert scene.visit(outcome, answer(), scene.seen())[1] == []


@pytest.mark.parametrize("outcome", ["dead", "filtered"])
def test_what_was_delivered_of_a_page_is_remembered_though_another_item_of_it_was_not(
    redis_server: RedisServer, outcome: str
) -> None:
    scene = Scene(redis_server)
    assert scene.visit(outcome, answer(), scene.seen())[1] == [scene.seen()]


def test_several_products_of_a_page_are_remembered_without_it(redis_server: RedisServer) -> None:
    scene = Scene(redis_server)
    scene.remember(None)
    assert [note[0] for note in scene.visit("delivered", answer(), scene.seen(), scene.seen())[1]] == ["seen", "seen"]
