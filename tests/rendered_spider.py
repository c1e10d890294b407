"""tests.spiders' PathSpider with a browser for every page; `-s SPIDER_MODULES=tests.rendered_spider`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from scrapy import Request

from tests import spiders


class RenderedPathSpider(spiders.PathSpider):
    """All of its requests ask for a browser."""

    async def start(self) -> AsyncIterator[Request]:
        async for request in super().start():
            yield request.replace(meta={**request.meta, "browser": True})

    def request(self, url: str) -> Request:
        request = super().request(url)
        return request.replace(meta={**request.meta, "browser": True})
