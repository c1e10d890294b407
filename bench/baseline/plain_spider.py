"""Plain Scrapy as most would write it: the same extraction, in memory, JSON lines from a feed export.

    scrapy runspider plain_spider.py -a urls=@FILE -O out.jsonl

Scrapy's own settings but for the limits, which are the demo shop's TOML's, and robots.txt, which is obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from scrapy import Request, Spider
from scrapy.http import Response

from crawlers.extraction import extract

FOLLOW = re.compile(r"/c/|[?&]page=|/p/")
DENY = re.compile(r"/trouble/|/_shop/")


class PlainSpider(Spider):
    name = "plain"
    custom_settings: ClassVar[dict[str, Any]] = {
        "ROBOTSTXT_OBEY": True,
        "CONCURRENT_REQUESTS": 32,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
        "LOG_LEVEL": "INFO",
    }

    def __init__(self, urls: str, follow: str = "0", **kwargs: Any):
        super().__init__(**kwargs)
        self.start_urls = Path(urls.removeprefix("@")).read_text("utf-8").split()
        self.follow = follow

    def parse(self, response: Response, **kwargs: Any) -> Iterator[Any]:
        """The product of the page, if any, and its links inside the shop."""
        root = response.selector.root
        extraction = extract(root, response.url, locale="en-US")
        if extraction.product is not None:
            yield {"url": response.url, "canonical_url": extraction.canonical_url, **extraction.product}
        if self.follow == "1":
            for link in root.iter("a"):
                url = response.urljoin(link.get("href", ""))
                if FOLLOW.search(url) and not DENY.search(url) and url.startswith("http://127.0.0.1:"):
                    yield Request(url)
