"""A spider whose requests were stored with what an earlier visit knew; `-s SPIDER_MODULES=tests.stale` chooses it."""

from __future__ import annotations

from typing import Any

from scrapy import Request

from crawlers.site_config import Site
from crawlers.spiders.product_spider import ProductSpider


class StaleRequests(ProductSpider):
    """Asks for every page only where it has changed since a day that is to come."""

    name = "product_spider"

    def _request(self, url: str, site: Site, **kwargs: Any) -> Request:
        request = super()._request(url, site, **kwargs)
        request.headers["If-Modified-Since"] = "Thu, 31 Dec 2099 23:59:59 GMT"
        return request
