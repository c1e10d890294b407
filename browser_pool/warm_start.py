"""Starts a browser with the crawl, where a site's pages will need one: the first page does not wait for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from scrapy import signals
from scrapy.exceptions import NotConfigured

from browser_pool.chromium import find_executable
from browser_pool.shared import SharedPool

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


class WarmStart:
    """An extension. Without a Chromium such a crawl does not start."""

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        self._warming: asyncio.Task[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises UserError where there is no Chromium."""
        wanted = {site.browser.when for site in getattr(crawler.spider, "sites", {}).values()} - {"never"}
        if not wanted:
            raise NotConfigured
        if not crawler.settings.get("BROWSER_REMOTE_URL"):
            find_executable(crawler.settings.get("BROWSER_EXECUTABLE"))
        extension = cls(crawler)
        if "always" in wanted:
            crawler.signals.connect(extension.engine_started, signal=signals.engine_started)
        return extension

    def engine_started(self) -> None:
        self._warming = asyncio.ensure_future(SharedPool.of(self._crawler).warm())
