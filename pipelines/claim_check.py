"""Offloads large fields: Kafka gets a claim check in their place."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from scrapy.exceptions import NotConfigured

from crawlers.exceptions import LostClaim, UserError
from crawlers.items import PNG, ClaimCheck
from pipelines.avro import ProductEncoder
from pipelines.claims.claims import Claims, check_store
from pipelines.schemas import claimable_fields

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.items import Product

_SIZE_OF_A_CLAIM = 1024
"""Bytes in a record, more or less."""


class ClaimCheckPipeline:
    """Stores an item's largest claimable field, then the next one, until its encoded value is within the threshold.

    The bytes are durable before the item goes on. Raises Undelivered where the worker closes before that.
    """

    def __init__(self, claims: Claims, threshold: int):
        self._claims = claims
        self._threshold = threshold
        self._fields = claimable_fields("products")
        self._encoder = ProductEncoder()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings: Any = crawler.settings
        claims = Claims.of(crawler)
        if claims is None:
            _check_sites(crawler)
            raise NotConfigured("CLAIM_CHECK_URL is not set")
        with ThreadPoolExecutor(1) as thread:  # an event loop is running here, and the start waits for the answer
            thread.submit(asyncio.run, check_store(settings)).result()
        return cls(claims, settings.getint("CLAIM_CHECK_THRESHOLD"))

    async def process_item(self, item: Product) -> Product:
        for field in self._fields:
            if isinstance(claim := getattr(item, field), ClaimCheck):
                await self._renew(claim)
        while (field := self._largest(item)) and len(self._encoder.encode(item)) > self._threshold:
            await self._offload(item, field)
        return item

    async def close_spider(self) -> None:
        await self._claims.close()

    def _largest(self, item: Product) -> str:
        """The claimable field with most bytes; '' where none has more than its claim would have."""
        values = {field: getattr(item, field) for field in self._fields}
        sizes = {field: len(value) for field, value in values.items() if isinstance(value, bytes)}
        worth_it = [field for field, size in sizes.items() if size > _SIZE_OF_A_CLAIM]
        return max(worth_it, key=lambda field: sizes[field], default="")

    async def _offload(self, item: Product, field: str) -> None:
        kind = (PNG, None) if field == "screenshot" else (item.content_type, item.content_encoding)
        setattr(item, field, await self._claims.put(getattr(item, field), *kind))

    async def _renew(self, claim: ClaimCheck) -> None:
        """An item that is sent once more, as from a dead letter, has its claim from before."""
        if not await self._claims.renew(claim.sha256):
            raise LostClaim(f"{claim.uri}: is not there any more")


def _check_sites(crawler: Crawler) -> None:
    """Raise UserError where a site's records are to bring along what may be larger than Kafka takes."""
    if not crawler.settings.get("KAFKA_BOOTSTRAP_SERVERS"):
        return
    for site in getattr(crawler.spider, "sites", {}).values():
        if site.browser.screenshot:
            raise UserError(
                f"{site.name}: browser.screenshot is set and CLAIM_CHECK_URL is not: a screenshot may be larger than "
                'Kafka\'s records. On a laptop: eval "$(scrapy stack env)", or CLAIM_CHECK_URL=file:///folder'
            )
