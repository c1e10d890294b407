"""Pictures of walls for their dead letters. No site is asked for anything once more.

A wall that a browser met was photographed in its tab, while that was open. One that plain HTTP met is drawn from the
bytes that came, in a context without network or scripts, where a site of the crawl uses the browser anyway.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from scrapy.http import TextResponse

from browser_pool.backend import Drawing
from browser_pool.errors import BrowserError
from browser_pool.shared import SharedPool
from crawlers.browser_rules import RENDERED
from crawlers.exceptions import SeineError

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

log = structlog.get_logger("seine.browser")

_PATIENCE = 60.0
"""Seconds for a drawing, and for its turn among the pages."""
_DRAWING = 10.0
_PAGE = b"text/html"


async def picture_of(crawler: Crawler, request: Request, response: Response) -> bytes | None:
    """PNG of the wall that `response` is; None where there is none."""
    if RENDERED in response.flags:
        picture: bytes | None = request.meta["rendered"].evidence
        return picture
    if not isinstance(response, TextResponse) or not response.body or not _uses_browser(crawler):
        return None
    kind = (response.headers.get("Content-Type") or _PAGE).decode("latin-1")
    try:
        pool = SharedPool.of(crawler)
        if not pool.backend.shares_process:  # it would take a browser of its own, and end another one for that
            return None
        async with asyncio.timeout(_PATIENCE):
            return await pool.draw(Drawing(response.url, kind, response.body, _DRAWING))
    except (BrowserError, SeineError, OSError) as error:  # a timeout is one of the last
        log.warning("wall not drawn", url=response.url, error=str(error) or "timed out")
        return None


def _uses_browser(crawler: Crawler) -> bool:
    return any(site.browser.when != "never" for site in getattr(crawler.spider, "sites", {}).values())
