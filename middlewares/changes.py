"""Asks for a page that is remembered only where it has changed (EMIT=changes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from scrapy.exceptions import NotConfigured

from crawlers.budgets import site_of
from crawlers.changes.memory import Unanswered
from crawlers.changes.options import emits_changes
from crawlers.changes.pages import without_conditions
from crawlers.changes.visits import Visits

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


class ChangesMiddleware:
    """Adds If-None-Match and If-Modified-Since to the requests of the sites' pages. A 304 is settled as delivered."""

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        self._visits = Visits.of(crawler)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if not emits_changes(crawler.settings):
            raise NotConfigured("EMIT is not changes")
        return cls(crawler)

    async def process_request(self, request: Request) -> None:
        """Look up what is remembered of the page; a worker that closes without Redis asks as if it was nothing."""
        without_conditions(request)  # of an earlier visit, or of another page
        assert self._crawler.engine is not None
        scheduler: Any = self._crawler.engine.scheduler
        lease, site = scheduler.lease_of(request), site_of(request, self._crawler.spider)
        if lease is None or site is None or request.method != "GET":
            return
        try:
            request.headers.update(await self._visits.begin(request, lease, site))
        except Unanswered:
            return
