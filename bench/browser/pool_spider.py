"""The same pages by the project's own settings and browser pool."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from scrapy import Request, Spider
from scrapy.http import Response

from bench.browser.report import Report


class PoolSpider(Spider):
    name = "pool"
    crawl_id = "bench"
    custom_settings: ClassVar[dict[str, Any]] = {"ROBOTSTXT_OBEY": False, "ITEM_PIPELINES": {}, "DOWNLOAD_DELAY": 0}

    async def start(self) -> AsyncIterator[Request]:
        self.report = Report(os.environ)
        for url in self.report.urls():
            yield Request(url, meta={"browser": {"wait_for": "[data-ready]"}})

    def parse(self, response: Response) -> None:
        self.report.done(response.text)

    def closed(self, reason: str) -> None:
        self.report.write()
