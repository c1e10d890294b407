"""Without a frontier, keeps what cannot be fetched yet until it can, in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from scrapy.exceptions import NotConfigured

from crawlers.refusals import Postponed

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

_LONGEST = 30.0
"""Seconds: a request that waits has one of CONCURRENT_REQUESTS' places, and a worker that ends waits for it."""


class WaitingMiddleware:
    """Stands before Scrapy's RetryMiddleware, which tries again at once."""

    def __init__(self, crawler: Crawler):
        self._most_retries = crawler.settings.getint("RETRY_TIMES")

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if crawler.settings.getbool("FRONTIER_ENABLED"):
            raise NotConfigured
        return cls(crawler)

    async def process_exception(self, request: Request, exception: Exception) -> None:
        """Return when another attempt is worth it, or at once where there will be none."""
        meta = request.meta
        is_last = meta.get("retry_times", 0) >= meta.get("max_retry_times", self._most_retries)
        if isinstance(exception, Postponed) and not is_last and not meta.get("dont_retry"):
            await asyncio.sleep(min(exception.wait, _LONGEST))
