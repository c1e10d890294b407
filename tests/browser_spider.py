"""Spiders for tests of the browser's download handler: `-s SPIDER_MODULES=tests.browser_spider`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import cycle
from typing import Any, Self

from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy_playwright.page import PageMethod

from browser_pool import chromium
from crawlers.identities import sessions
from crawlers.identities.agents import desktop_browsers
from crawlers.identity import Identity


class EveryFamily:
    """An extension: identities are, one after another, of each family of browsers, and no longer at random."""

    def __init__(self) -> None:
        families = cycle({profile.family: profile for profile in desktop_browsers()}.values())
        sessions.any_browser = lambda _: next(families)


class Trusting:
    """An extension: Chromium takes the certificate whose key's digest is TEST_TRUSTED_KEY for a good one."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        trusted = f"--ignore-certificate-errors-spki-list={crawler.settings['TEST_TRUSTED_KEY']}"
        chromium._SWITCHES = (*chromium._SWITCHES, trusted)
        return cls()


class PagesSpider(Spider):
    """Asks for `-a requests=`, a JSON list of [URL, meta], one after another, and yields what it gets."""

    name = "pages_spider"
    custom_settings = {"CONCURRENT_REQUESTS": 1}

    def __init__(self, requests: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.crawl_id = ""
        self._requests = json.loads(requests)

    async def start(self) -> AsyncIterator[Any]:
        for url, meta in self._requests:
            if "identity" in meta:
                meta["cookiejar"] = meta["identity"]
                meta["identity"] = Identity(meta["identity"], is_browser_like=True)
            yield Request(url, meta=meta, dont_filter=True)

    def parse(self, response: Response) -> Any:
        assert response.request is not None
        rendered = response.meta.get("rendered")
        yield {
            "url": response.url,
            "status": response.status,
            "text": response.text,
            "rendered_by": response.meta.get("rendered_by"),
            "latency": response.meta.get("download_latency"),
            "captured": rendered and [one.data for one in rendered.captured],
            "sent": (response.request.headers.get("Cookie") or b"").decode(),
            "set": [header.decode() for header in response.headers.getlist("Set-Cookie")],
        }


async def rename(page: Any, title: str) -> str:
    """A PageMethod's method that is a function."""
    await page.locator("h1").evaluate("(heading, title) => { heading.textContent = title }", title)
    return f"called with {title}"


class PlaywrightSpider(Spider):
    """Asks for `-a url=` as scrapy-playwright's README shows it."""

    name = "playwright_spider"

    def __init__(self, url: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.crawl_id = ""
        self._url = url

    async def start(self) -> AsyncIterator[Any]:
        meta = {
            "playwright": True,
            "playwright_page_methods": {
                "title": PageMethod("evaluate", "document.querySelector('h1').textContent"),
                "renamed": PageMethod(rename, title="another"),
            },
            "playwright_page_goto_kwargs": {"referer": "http://search.example/"},
        }
        yield Request(self._url, meta=meta)

    def parse(self, response: Response) -> Any:
        methods = response.meta["playwright_page_methods"]
        yield {
            "results": {name: method.result for name, method in methods.items()},
            "title": response.css("h1::text").get(),
        }
