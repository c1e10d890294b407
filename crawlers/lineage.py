"""Where a record comes from: the fields that say which page, crawl and worker an item was seen by."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crawlers.extraction import EXTRACTOR_VERSION
from crawlers.items import LONGEST_CONTENT_TYPE
from crawlers.logs import bind_process
from crawlers.masking.masking import Masking

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from crawlers.items import Product
    from crawlers.spiders.product_spider import ProductSpider


def crawl_id_of(crawler: Crawler) -> str:
    """The crawl's id: FRONTIER_CRAWL_ID, or one made of the time; every log line carries it.

    With a frontier it is that of the crawl which the worker joins, '' until then.
    """
    crawl_id = crawler.settings.get("FRONTIER_CRAWL_ID")
    if not crawl_id and crawler.settings.getbool("FRONTIER_ENABLED"):
        return ""
    crawl_id = str(crawl_id or fresh_crawl_id())
    bind_process(crawl_id=crawl_id)
    return crawl_id


def fresh_crawl_id() -> str:
    """A name for a new crawl: when, and four hexadecimal digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def worker_name(settings: Any) -> str:
    """This process's name in records: WORKER_ID, or host and pid."""
    return str(settings.get("WORKER_ID") or f"{socket.gethostname()}:{os.getpid()}")


class Lineage:
    """Stamps items with their lineage; one per spider."""

    def __init__(self, crawler: Crawler, spider: ProductSpider):
        self._crawler = crawler
        self._spider = spider
        self._worker = worker_name(crawler.settings)
        self._stores_content = crawler.settings.getbool("STORE_CONTENT")

    def stamp(self, item: Product, response: Response, index: int = 0) -> Product:
        """Fill in the lineage of `item`, the `index`-th item of `response`, and return it.

        Its identity is masked here: whatever goes by it, from the first stage on, has the record's key.
        """
        meta = response.meta
        item.crawl_id = self._spider.crawl_id
        item.spider = self._spider.name
        item.worker = self._worker
        item.record_id = self._record_id(response, index)
        item.fetched_at = datetime.now(UTC)
        item.http_status = response.status
        item.content_hash = hashlib.sha256(response.body).hexdigest()
        item.rendered_by = meta.get("rendered_by")
        item.proxy = meta.get("proxy_label")
        item.extractor_version = EXTRACTOR_VERSION
        if self._stores_content:
            item.content = response.body
            item.content_type = _content_type(response)
        if (rendered := meta.get("rendered")) is not None:
            item.screenshot = rendered.screenshot
        if (masker := Masking.of(self._crawler).of_site(item.site)) is not None:
            masker.identify(item)
        return item

    def _record_id(self, response: Response, index: int) -> str:
        assert response.request is not None
        fingerprint = self._crawler.request_fingerprinter.fingerprint(response.request)
        return hashlib.sha256(b"%s|%s|%d" % (self._spider.crawl_id.encode(), fingerprint, index)).hexdigest()[:32]


def _content_type(response: Response) -> str | None:
    """The header as it was sent; None where there is none, or where it is none."""
    declared = (response.headers.get("Content-Type") or b"").decode("latin-1").strip()
    return declared if declared.isprintable() and 0 < len(declared) <= LONGEST_CONTENT_TYPE else None
