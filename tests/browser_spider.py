"""A spider for tests of the browser's download handler: `-s SPIDER_MODULES=tests.browser_spider`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request, Spider
from scrapy.http import Response

from crawlers.identity import Identity


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
