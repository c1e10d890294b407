"""Masks items before anything else sees them: what comes after this stage holds no more than it may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from scrapy.exceptions import NotConfigured

from crawlers import logs
from crawlers.masking.masking import Masking

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.items import Product


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
        """`item`, masked in place; its page, which is long, in another thread."""
        masker = self._masking.of_site(item.site)
        if masker is None:
            return item
        masked = masker.item(item)
        if isinstance(masked.content, bytes) and masked.content_encoding is None:
            masked.content = await asyncio.to_thread(masker.content, masked.content, masked.content_type)
        return masked
