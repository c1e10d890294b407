"""Decompresses bodies, and stops at one that grows too much: while it grows, not after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.utils._compression import _DecompressionMaxSizeExceeded

from crawlers.refusals import GivenUp

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

ALWAYS_FINE = 1024 * 1024
"""Bytes that any body may decompress to."""
MOST_LAYERS = 3
"""Encodings within each other."""


class CompressionMiddleware(HttpCompressionMiddleware):
    """Scrapy's, with a limit on how many times its size a body may decompress to, all layers together.

    Beyond it a request is dead as "decompression ratio", beyond DOWNLOAD_MAXSIZE as "too large".
    """

    def __init__(self, *, crawler: Crawler):
        super().__init__(crawler=crawler)
        self._ratio = crawler.settings.getint("DECOMPRESSION_RATIO")

    def _handle_encoding(self, body: bytes, content_encoding: list[bytes], max_size: int) -> tuple[bytes, list[bytes]]:
        if len(b",".join(content_encoding).split(b",")) > MOST_LAYERS:
            raise GivenUp("decompression ratio", f"more than {MOST_LAYERS} content encodings")
        limit = max(ALWAYS_FINE, self._ratio * len(body))
        if max_size and limit >= max_size:
            return super()._handle_encoding(body, content_encoding, max_size)
        try:
            return super()._handle_encoding(body, content_encoding, limit)
        except _DecompressionMaxSizeExceeded:
            message = f"{len(body)} bytes decompress to more than {limit}, DECOMPRESSION_RATIO={self._ratio}"
            raise GivenUp("decompression ratio", message) from None
