"""Looks before the crawl for what browsers need, and starts one where a site's pages will need it at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from scrapy import signals
from scrapy.exceptions import NotConfigured

from browser_pool.backends import DEFAULT, backend_of
from browser_pool.chromium import find_executable
from browser_pool.folder import parent_of
from browser_pool.shared import SharedPool

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


class WarmStart:
    """An extension. A crawl whose pages need a browser does not start without one, or with what none can run with.

    Requests may ask for a browser by themselves: where no site's pages need one, it is what is set that is looked at.
    """

    def __init__(self, crawler: Crawler):
        self._crawler = crawler
        self._warming: asyncio.Task[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises UserError where a browser could not be started."""
        settings: Any = crawler.settings
        wanted = {site.browser.when for site in getattr(crawler.spider, "sites", {}).values()} - {"never"}
        folder, is_local = settings.get("BROWSER_TMP_DIR"), not settings.get("BROWSER_REMOTE_URL")
        if wanted or folder:
            parent_of(folder)
        if wanted or settings["BROWSER_BACKEND"] != DEFAULT:
            backend = backend_of(settings)
            if is_local:
                backend.check()
        if not wanted:
            raise NotConfigured
        if is_local:
            find_executable(settings.get("BROWSER_EXECUTABLE"))
        extension = cls(crawler)
        if "always" in wanted:
            crawler.signals.connect(extension.engine_started, signal=signals.engine_started)
        return extension

    def engine_started(self) -> None:
        self._warming = asyncio.ensure_future(SharedPool.of(self._crawler).warm())
