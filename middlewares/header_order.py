"""Puts the headers of a browser-like request in its browser's order, once all of them are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crawlers.identities.headers import arrange
from crawlers.identity import Identity

if TYPE_CHECKING:
    from scrapy import Request


class HeaderOrderMiddleware:
    """Behind Scrapy's cookies, which come last into a request, and stand elsewhere in most browsers'."""

    def process_request(self, request: Request) -> None:
        identity = request.meta.get("identity")
        if isinstance(identity, Identity) and identity.header_order:
            arrange(request.headers, identity.header_order)
