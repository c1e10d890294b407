"""Masks items before anything else sees them: what comes after this stage holds no more than it may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from scrapy.exceptions import NotConfigured

from crawlers import logs, metrics
from crawlers.items import PNG
from crawlers.masking.masking import Masking

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.items import Product
    from crawlers.masking.masker import Content, Masker


_QUICK = 128 * 1024
"""Bytes that are masked in a few milliseconds; the event loop does not wait for more."""


class MaskingPipeline:
    """Applies the rules of an item's site; without any rule there is no such stage."""

    def __init__(self, masking: Masking):
        self._masking = masking

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        masking = Masking.of(crawler)
        logs.mask(masking.of_logs)
        if not masking.is_active:
            raise NotConfigured("no masking rule is set")
        return cls(masking)

    async def process_item(self, item: Product) -> Product:
        """`item`, masked in place. What cannot be masked of a page is not stored: content_hash is what stays of it."""
        masker = self._masking.of_site(item.site)
        if masker is None:
            return item
        masker.item(item)
        if isinstance(item.content, bytes):
            content = await _masked(masker, item.content, item.content_type, item.content_encoding)
            item.content, item.content_encoding = content or (None, None)
            if content is None:
                item.content_type = None
                metrics.CONTENT_DROPPED.inc()
        if isinstance(item.screenshot, bytes) and masker.content(item.screenshot, PNG) is None:
            item.screenshot = None
            metrics.CONTENT_DROPPED.inc()
        return item


async def _masked(masker: Masker, body: bytes, *how_to_read: str | None) -> Content | None:
    if len(body) <= _QUICK:
        return masker.content(body, *how_to_read)
    return await asyncio.to_thread(masker.content, body, *how_to_read)
