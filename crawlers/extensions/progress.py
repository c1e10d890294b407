"""One live line at the foot of a terminal: pages, products, rates."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text
from scrapy import signals
from scrapy.exceptions import NotConfigured

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_SHOWN = ("delivered", "expanded", "empty", "redirected", "retried", "filtered", "dead")


class LiveProgress:
    """Draws from the crawl's stats, four times a second, on a terminal only, and beside no JSON."""

    def __init__(self, stats: Any):
        self._stats = stats
        self._started = 0.0
        self._live = Live(get_renderable=self._line, console=Console(stderr=True), transient=True)  # draws at once

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if not sys.stderr.isatty() or crawler.settings["LOG_STYLE"] == "json":
            raise NotConfigured
        extension = cls(crawler.stats)
        crawler.signals.connect(extension.spider_opened, signal=signals.spider_opened)
        crawler.signals.connect(extension.spider_closed, signal=signals.spider_closed)
        return extension

    def spider_opened(self) -> None:
        self._started = time.monotonic()
        self._live.start()

    def spider_closed(self) -> None:
        self._live.stop()

    def _line(self) -> Text:
        count = self._stats.get_value
        seconds = max(time.monotonic() - self._started, 0.001)
        pages = count("response_received_count", 0)
        products = count("items/acknowledged", 0) + count("items/passed", 0)
        outcomes = "  ".join(f"{name} {n}" for name in _SHOWN if (n := count(f"outcomes/{name}", 0)))
        return Text(
            f"{pages} pages ({pages / seconds:.0f}/s)  {products} products ({products / seconds:.0f}/s)  {outcomes}"
        )
