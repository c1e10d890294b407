"""A spider whose pages show several products each; `-s SPIDER_MODULES=tests.several` makes it the product_spider."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from scrapy import Request
from scrapy.http import Response

from crawlers.items import Product
from crawlers.spiders.product_spider import ProductSpider


class SeveralProducts(ProductSpider):
    """Takes each `li` for a product: its name, and `invalid` where its item is to be; `fail` ends the page."""

    name = "product_spider"

    def parse(self, response: Response, **kwargs: Any) -> Iterator[Request | Product]:
        yield from super().parse(response, **kwargs)
        for index, text in enumerate(response.css("li::text").getall()):
            name, _, fault = text.partition(" ")
            if name == "fail":
                raise RuntimeError("as asked")
            item = Product(url=response.url, canonical_url=f"{response.url}/{name}", name=name)
            item.site, item.identity = response.meta["site"], item.canonical_url
            item.price = Decimal(1) if fault else None
            yield self.lineage.stamp(item, response, index)
