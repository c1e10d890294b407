"""Spiders for tests of the frontier; `-s SPIDER_MODULES=tests.spiders` makes them known."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Self

import structlog
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import CloseSpider, DropItem
from scrapy.http import Response
from twisted.python.failure import Failure

from crawlers.bans.hooks import ban_detected
from crawlers.exceptions import Undelivered

log = structlog.get_logger("tests.spiders")


class Pipeline:
    """Does to an item what it asks for."""

    def process_item(self, item: dict[str, Any]) -> dict[str, Any]:
        match item["fate"]:
            case "dropped":
                raise DropItem("as asked")
            case "broken":
                raise ValueError("as asked")
            case "undelivered":
                raise Undelivered("as asked")
        return item


class Spoiling:
    """Does to a product what its page's name asks for, after it was found to be valid."""

    def process_item(self, item: Any) -> Any:
        name = item.url.rpartition("/")[2]
        if name == "broken":
            raise ValueError("as asked")
        if name == "odd":
            item.rating = object()
        if name == "large":
            item.description = "x" * 1_100_000
        return item


class Mending:
    """A pipeline that a project has added since: what was invalid gets its currency."""

    def process_item(self, item: Any) -> Any:
        item.currency = item.currency or "EUR"
        return item


class Solver:
    """Answers the CAPTCHA of /page with a page and that of /request with a request; no other."""

    async def solve(self, request: Request, response: Response) -> Response | Request | None:
        match request.url.rpartition("/")[2]:
            case "page":
                return response.replace(status=200, body=b"<p>through</p>")
            case "request":
                return request.replace(cookies={"passed": "1"}, dont_filter=True)
        return None


class Replacing:
    """A downloader middleware that puts another request in a request's place."""

    def process_request(self, request: Request) -> Request | None:
        if "instead" in request.meta and not request.meta.get("replaced"):
            return request.replace(url=request.meta["instead"], meta={**request.meta, "replaced": True})
        return None


class PathSpider(Spider):
    """Starts at `-a url=`; the path of a page says what its callback does."""

    name = "path_spider"

    def __init__(self, url: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.start_url = url
        self.crawl_id = ""

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.on_ban, signal=ban_detected)
        return spider

    def on_ban(self, request: Request, response: Response, kind: str) -> None:
        log.info("heard", url=request.url, kind=kind)

    async def start(self) -> AsyncIterator[Request]:
        yield Request(self.start_url, self.parse, errback=self.failed)

    def parse(self, response: Response) -> Any:
        for link in response.css("a::attr(href)").getall():
            yield self.request(response.urljoin(link))
        what = response.url.rpartition("/")[2].partition("-")[0]
        if what == "busy":  # the event loop stands still, and what should start is late
            time.sleep(float(response.url.rpartition("-")[2]))
        if what == "request":
            log.info("asked", headers=response.request.headers.to_unicode_dict())
        if what == "error":
            raise RuntimeError("as asked")
        if what == "again":
            again = response.meta.get("again", 0)
            if again < 2:
                yield response.request.replace(dont_filter=True, meta={"again": again + 1})
        if what == "close":
            raise CloseSpider("as asked")
        if what == "item":
            yield {"fate": response.url.rpartition("-")[2]}
        if what == "unstorable":
            yield Request(response.urljoin("/lambda"), callback=lambda response: None)

    def request(self, url: str) -> Request:
        if "instead" in url:
            return Request(url, self.parse, errback=self.failed, meta={"instead": url.replace("instead", "place")})
        if "odd" in url:
            return Request(url, self.parse, errback=self.failed, meta={"proxy_label": 7})
        if "hidden-proxy" in url:
            return Request(url, self.parse, errback=self.failed, meta={"proxy": "http://me:s3cret@127.0.0.1:9"})
        if "saved" in url:
            return Request(url, self.parse, errback=self.save)
        return Request(url, self.parse, errback=self.failed)

    def failed(self, failure: Failure) -> None:
        """Nothing is left to do."""

    def save(self, failure: Failure) -> Any:
        """An errback that makes something of a failure."""
        yield {"fate": "saved"}
