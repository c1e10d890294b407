"""A generated shop: domains alike, each a tree of product pages that is found link by link."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

from bench.page_server import HOST, Connection, answer, serving, url_of

_FAN = 4
_PARAGRAPH = "<p>A tent for two, of ripstop nylon, with poles that a child can set up in the dark.</p>\n"
_TEXT = _PARAGRAPH * 60
"""A page is some 8 kB."""


class Shop:
    """`pages` pages, spread over as many ports as there are domains; each links to its children and its neighbours."""

    def __init__(self, pages: int, domains: int):
        self.pages = pages - pages % domains
        self._each = self.pages // domains
        self._domains = domains
        self.urls: list[str] = []

    async def listen(self) -> list[asyncio.Server]:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(lambda: Connection(self._asked), HOST, 0) for _ in range(self._domains)]
        self.urls = [url_of(server) for server in servers]
        return servers

    def toml(self) -> str:
        """Its file for SITES_DIR."""
        domains = ", ".join(f'"{url.removeprefix("http://")}"' for url in self.urls)
        seeds = ", ".join(f'"{url}/p/0"' for url in self.urls)
        return (
            f'name = "soak"\ndomains = [{domains}]\nseeds = [{seeds}]\nlocale = "en-GB"\n'
            'product = { allow = ["/p/"] }\nfollow = { allow = ["/p/"] }\nprivate_networks = ["127.0.0.0/8"]\n'
            "[limits]\ndelay = 0.0\nconcurrency = 16\n"
        )

    def _asked(self, path: bytes, transport: asyncio.Transport) -> None:
        number = path.rpartition(b"/")[2]
        answer(transport, self._page(int(number)) if number.isdigit() else b"")

    def _page(self, number: int) -> bytes:
        offer = {"@type": "Offer", "price": f"{number % 500}.90", "priceCurrency": "EUR", "availability": "InStock"}
        product = {"@context": "https://schema.org", "@type": "Product", "name": f"Tent {number}", "sku": str(number)}
        product |= {"offers": offer, "brand": "Seine", "description": _PARAGRAPH[3:-5]}
        first = number * _FAN + 1
        linked = (*range(first, min(self._each, first + _FAN)), *range(max(0, number - 20), number))
        links = "".join(f'<li><a href="/p/{one}">Tent {one}</a></li>\n' for one in linked)
        head = (
            f'<html><head><title>Tent</title><script type="application/ld+json">{json.dumps(product)}</script></head>'
        )
        return f"{head}<body><ul>{links}</ul>{_TEXT}</body></html>".encode()


@contextmanager
def running_shop(pages: int, domains: int) -> Iterator[Shop]:
    """It runs in a thread of its own."""
    shop = Shop(pages, domains)
    with serving(shop.listen):
        yield shop
