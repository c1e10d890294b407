"""Compresses stored pages, after masking has seen them as they were fetched."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Self

from scrapy.exceptions import NotConfigured

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlers.items import Product

_LEVEL = 3
"""The same level and library give the same bytes, and so the same claim for the same page."""
_QUICK = 128 * 1024
"""Bytes that are compressed in less time than another thread takes to begin."""


class ContentPipeline:
    """Packs `content` with zstd where that makes it smaller."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if not crawler.settings.getbool("STORE_CONTENT"):
            raise NotConfigured("STORE_CONTENT is not set")
        return cls()

    async def process_item(self, item: Product) -> Product:
        content = item.content
        if isinstance(content, bytes) and item.content_encoding is None:
            packed = await _compressed(content)
            if len(packed) < len(content):
                item.content, item.content_encoding = packed, "zstd"
        return item


async def _compressed(content: bytes) -> bytes:
    if len(content) <= _QUICK:
        return zstd.compress(content, _LEVEL)
    return await asyncio.to_thread(zstd.compress, content, _LEVEL)
