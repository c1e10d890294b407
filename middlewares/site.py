"""Keeps requests inside their site and its page limit, and charges each to its domain's budget."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from scrapy import signals
from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.exceptions import IgnoreRequest

from crawlers.browser_rules import AGAIN
from crawlers.budgets import budget_of, site_of
from crawlers.outcomes import note_dropped_child

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


class SiteMiddleware(OffsiteMiddleware):
    """Offsite by host *and port*, per request: one with `meta["site"]` stays in that site's domains.

    A redirect copies its request's meta, so it is held to the same domains.
    """

    def __init__(self, stats: Any, *, counts_pages: bool):
        super().__init__(stats)
        self._counts_pages = counts_pages
        self._pages: Counter[str] = Counter()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """With a frontier, it is the frontier that counts a site's pages: those of all workers."""
        middleware = cls(crawler.stats, counts_pages=not crawler.settings.getbool("FRONTIER_ENABLED"))
        crawler.signals.connect(middleware.request_scheduled, signal=signals.request_scheduled)
        middleware.crawler = crawler
        return middleware

    def should_follow(self, request: Request, spider: Any) -> bool:
        site = site_of(request, spider)
        return site is None or site.owns(request.url)

    def request_scheduled(self, request: Request, spider: Any) -> None:
        """Refuse what is offsite before it is queued; budgets are for what is fetched."""
        try:
            super().process_request(request)
        except IgnoreRequest:
            note_dropped_child("offsite")
            raise

    def process_request(self, request: Request, spider: Any = None) -> None:
        """Refuse what is offsite, and name the download slot after the domain that is asked."""
        super().process_request(request)
        site = site_of(request, self.crawler.spider)
        if site is not None and self._counts_pages:
            self._count(request, site)
        request.meta["download_slot"] = budget_of(request, self.crawler.spider)

    def _count(self, request: Request, site: Any) -> None:
        if request.meta.get("retry_times") or AGAIN in request.meta:
            return
        if site.limits.pages and self._pages[site.name] >= site.limits.pages:
            raise IgnoreRequest("page limit")
        self._pages[site.name] += 1
