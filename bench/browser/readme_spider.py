"""scrapy-playwright as its README shows it: two handlers, the asyncio reactor, `meta={"playwright": True}`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from scrapy import Request, Spider
from scrapy.http import Response
from scrapy_playwright.page import PageMethod

from bench.browser.report import Report


class ReadmeSpider(Spider):
    name = "readme"
    custom_settings: ClassVar[dict[str, Any]] = {
        "DOWNLOAD_HANDLERS": {
            "http": "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler",
            "https": "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler",
        },
        "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "PLAYWRIGHT_LAUNCH_OPTIONS": {"executable_path": os.environ["BENCH_EXECUTABLE"]},
        "LOG_LEVEL": "INFO",
    }

    async def start(self) -> AsyncIterator[Request]:
        self.report = Report(os.environ)
        for url in self.report.urls():
            ready = PageMethod("wait_for_selector", "[data-ready]")
            yield Request(url, meta={"playwright": True, "playwright_page_methods": [ready]})

    def parse(self, response: Response) -> None:
        self.report.done(response.text)

    def closed(self, reason: str) -> None:
        self.report.write()
