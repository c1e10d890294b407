"""Refuses hosts that are no public address, and bodies that are no text."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from scrapy import signals
from scrapy.exceptions import StopDownload
from scrapy.utils.httpobj import urlparse_cached

from crawlers.browser_rules import RENDERED
from crawlers.fetching.content_types import ContentTypes
from crawlers.fetching.dialling import private_address
from crawlers.fetching.policy import AddressPolicy
from crawlers.refusals import Refused
from crawlers.robots.fetching import ROBOTS_TXT

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Headers, Response

STOPPED = "download_stopped"
"""Scrapy's flag of a response without its body."""


class GuardMiddleware:
    """The first look at a request, redirects included; what a name leads to is seen when it is dialled.

    A body of a type that CONTENT_TYPES leaves out is not downloaded: its connection is closed after the headers.
    """

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        self._types = ContentTypes(crawler.settings.getlist("CONTENT_TYPES"))

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        middleware = cls(crawler)
        crawler.signals.connect(middleware.headers_received, signal=signals.headers_received)
        return middleware

    @cached_property
    def _policy(self) -> AddressPolicy:
        return AddressPolicy.of(self._crawler)

    def process_request(self, request: Request) -> None:
        """Refuse a host that spells an address which is not allowed, before anything is asked of it."""
        host = urlparse_cached(request).hostname or ""
        if refusal := self._policy.rules(request.url).refusal_of_host(host):
            raise private_address(refusal)

    def headers_received(self, headers: Headers, request: Request) -> None:
        """Stop the download of what is not worth it."""
        if ROBOTS_TXT not in request.meta and not self._types.takes(headers.get("Content-Type") or b""):
            raise StopDownload(fail=False)

    def process_response(self, request: Request, response: Response) -> Response:
        """Refuse a page whose body was not downloaded; errors and redirects are what they are without it.

        A browser loads what it is shown whole: its pages are refused afterwards.
        """
        if not response.flags or not 200 <= response.status < 300:
            return response
        declared = response.headers.get("Content-Type") or b""
        if STOPPED in response.flags or (RENDERED in response.flags and not self._types.takes(declared)):
            raise Refused("content type", f"{declared.decode('latin-1')} is none of CONTENT_TYPES")
        return response
