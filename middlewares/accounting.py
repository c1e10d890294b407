"""Accounts for the requests of a callback that other middlewares drop on their way to the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.exceptions import CloseSpider
from scrapy.spidermiddlewares.base import BaseSpiderMiddleware

from crawlers.outcomes import CURRENT, note_parsed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response


class AccountingMiddleware(BaseSpiderMiddleware):
    """Next to the spider: it sees every request that a callback yields.

    What of them never reaches the scheduler was dropped in between; the reason is told where the request shows it.
    It also sees when the callback has yielded everything.
    """

    def __init__(self, crawler: Crawler):
        super().__init__(crawler)
        self._depth_limit = crawler.settings.getint("DEPTH_LIMIT")
        self._url_limit = crawler.settings.getint("URLLENGTH_LIMIT")

    def process_spider_output(self, response: Response | None, result: Iterable[Any]) -> Iterable[Any]:  # type: ignore[override]
        yield from super().process_spider_output(response, result)
        note_parsed()

    async def process_spider_output_async(  # type: ignore[override]
        self, response: Response | None, result: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        async for one in super().process_spider_output_async(response, result):
            yield one
        note_parsed()

    def get_processed_request(self, request: Request, response: Response | None) -> Request:
        record = CURRENT.get()
        if record is not None and response is not None:
            record.yielded += 1
            if self._depth_limit and response.meta.get("depth", 0) >= self._depth_limit:
                record.middlewares["depth"] += 1
            elif self._url_limit and len(request.url) > self._url_limit:
                record.middlewares["url length"] += 1
        return request

    def process_spider_exception(self, response: Response, exception: Exception) -> Any:
        """A callback that closes the spider has not failed: its request is left for later."""
        if isinstance(exception, CloseSpider) and (record := CURRENT.get()) is not None:
            record.is_interrupted = True
