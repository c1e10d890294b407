"""Answers the requests that stand for products which are gone: there is nothing to fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from scrapy.exceptions import NotConfigured
from scrapy.http import Response

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


class GoneMiddleware:
    """The first of all: robots.txt, guards and proxies have no say in what is not sent."""

    def __init__(self, callback: Any):
        self._callback = callback

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        callback = getattr(crawler.spider, "parse_gone", None)
        if callback is None:
            raise NotConfigured
        return cls(callback)

    def process_request(self, request: Request) -> Response | None:
        """An empty response for one of GoneProducts' requests."""
        return Response(request.url) if request.callback == self._callback else None
