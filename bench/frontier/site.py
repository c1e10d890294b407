"""The site that is crawled: pages that link to each other, answered in the process at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from scrapy.http import HtmlResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy import Request
    from scrapy.crawler import Crawler

_TEXT = "<p>A tent for two, of ripstop nylon, with poles that a child can set up in the dark.</p>\n" * 10


@dataclass(frozen=True)
class Graph:
    """`domains` alike, of `pages` pages each. Every page links to the first `navigation` pages and `fan` others.

    Pages are a tree of that fan; a leaf's other links lead back, so that every page has the same number of links, and
    in a whole crawl one link of `navigation + fan` is new. Without navigation a leaf has none: every link is new.
    """

    domains: int = 8
    pages: int = 500
    navigation: int = 18
    fan: int = 2

    @property
    def total(self) -> int:
        return self.domains * self.pages

    def seeds(self) -> Iterator[str]:
        for domain in range(self.domains):
            yield f"http://shop{domain}.bench/p/0"

    def links(self, number: int) -> list[int]:
        """The pages that page `number` of a domain links to."""
        first = number * self.fan + 1
        children = range(first, min(self.pages, first + self.fan))
        if not self.navigation:
            return list(children)
        back = range(max(0, number - self.fan + len(children)), number)
        return [*range(self.navigation), *children, *back]

    def body(self, number: int) -> bytes:
        own = self.links(number)[self.navigation :]
        return b"%s%s</body></html>" % (self._top, b"".join(b'<a href="/p/%d">next</a>\n' % n for n in own))

    @cached_property
    def _top(self) -> bytes:
        links = "".join(f'<li><a href="/p/{n}">Part {n} of the shop</a></li>\n' for n in range(self.navigation))
        return f"<html><head><title>Shop</title></head><body><ul>\n{links}</ul>\n{_TEXT}".encode()


def number_of(url: str) -> int:
    """The number of the page at `url`."""
    return int(url.rpartition("/")[2])


class InstantHandler:
    """Answers a page of the spider's graph, after BENCH_LATENCY seconds where that is set."""

    lazy = False

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        self._latency = crawler.settings.getfloat("BENCH_LATENCY")

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    async def download_request(self, request: Request) -> HtmlResponse:
        if self._latency:
            await asyncio.sleep(self._latency)
        spider: Any = self._crawler.spider
        return HtmlResponse(request.url, body=spider.graph.body(number_of(request.url)), encoding="utf-8")

    async def close(self) -> None:
        """Nothing is open."""


class BusyHandler:
    """Answers at once with a page that takes a spider long: many links, some of them to pages that are not known."""

    lazy = False
    _LINKS = 100
    _NEW = 8

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls()

    async def download_request(self, request: Request) -> HtmlResponse:
        number = request.url.rpartition("/")[2]
        page = int(number) if number.isdigit() else 0
        links = (page * self._NEW + 1 + n if n < self._NEW else n for n in range(self._LINKS))
        rows = "".join(f'<li><a href="/p/{n}"><b>Tent</b> {n}</a> <span>{n}.00 EUR</span></li>' for n in links)
        body = f"<html><head><title>Tents</title></head><body><ul>{rows}</ul></body></html>".encode()
        return HtmlResponse(request.url, body=body, encoding="utf-8")

    async def close(self) -> None:
        """Nothing is open."""
