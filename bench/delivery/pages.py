"""The demo shop's product pages, without their server, and the products that the extraction finds in them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, islice

from scrapy.http import HtmlResponse

from crawlers.extraction import extract
from crawlers.items import Product
from deploy.demo_shop.pages.product import product_page
from deploy.demo_shop.shop import Shop

LOCALE = "en-US"
_FETCHED_AT = datetime(2026, 1, 2, tzinfo=UTC)


def product_pages(base: str) -> list[tuple[str, str]]:
    """(sku, HTML) of every product whose page tells its sku; some 11 kB each."""
    shop = Shop()
    shop.bases = [base] * 4
    own = [product for product in shop.catalog if product.locale.locale == LOCALE]
    return [
        (one.sku, product_page(shop, one)) for one in own if one.category.section != "js" and one.markup != "visible"
    ]


def products(count: int) -> list[Product]:
    """So many, each with an identity of its own: what the spider yields for these pages, again and again."""
    found = [_product(page) for _, page in product_pages("http://shop.example")]
    return [
        replace(one, identity=f"{one.sku}-{number}", record_id=f"{number:032x}")
        for number, one in enumerate(islice(cycle(found), count))
    ]


def _product(page: str) -> Product:
    response = HtmlResponse("http://shop.example/p/1", body=page.encode(), encoding="utf-8")
    extraction = extract(response.selector.root, response.url, locale=LOCALE)
    assert extraction.product is not None
    return Product(
        **{"url": response.url, "canonical_url": response.url, **extraction.product},
        site="shop",
        fetched_at=_FETCHED_AT,
        crawl_id="20260102T000000Z-0000",
        spider="product_spider",
        worker="bench:1",
        http_status=200,
        content_hash="0" * 64,
        extractor_version="1",
    )
