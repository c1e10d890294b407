"""A shop of product pages that link to each other, for crawls whose every record is counted."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.web import Page, WebServer

HUGE = 60_000


class ProductTree(Mapping[str, Page]):
    """`count` pages: each shows the product of its number and links to two further ones, its parent and the first.

    Every product whose number is a multiple of `broken_every` has a price and no currency: it is a dead letter.
    """

    def __init__(self, count: int, broken_every: int = 0, huge: tuple[int, ...] = (), padding: int = 0):
        self._count = count
        self._padding = padding
        """Bytes by which each page is larger, and no compression helps."""
        self._broken_every = broken_every
        self._huge = huge
        """Their descriptions are HUGE, and no compression helps."""

    def is_broken(self, number: int) -> bool:
        return number in self._huge or (bool(self._broken_every) and number % self._broken_every == 0)

    @property
    def good(self) -> set[str]:
        """The skus of the products that are delivered."""
        return {f"sku-{n}" for n in range(self._count) if not self.is_broken(n)}

    @property
    def broken(self) -> set[str]:
        return {f"sku-{n}" for n in range(self._count) if self.is_broken(n)}

    def __getitem__(self, path: str) -> Page:
        prefix, _, digits = path.rpartition("-")
        if prefix != "/p/item" or not digits.isdigit() or int(digits) >= self._count:
            raise KeyError(path)
        number = int(digits)
        children = [n for n in (2 * number + 1, 2 * number + 2) if n < self._count]
        links = "".join(f'<a href="/p/item-{n}">x</a>' for n in (*children, max(0, (number - 1) // 2), 0))
        offer = {"@type": "Offer", "price": "9.90", "priceCurrency": "EUR"}
        if self.is_broken(number) and number not in self._huge:
            offer["priceCurrency"] = "???"
        product = {
            "@context": "https://schema.org",
            "@type": "Product",
            "name": f"Tent {number}",
            "sku": f"sku-{number}",
        }
        if number in self._huge:
            product["description"] = random.Random(number).randbytes(HUGE // 2).hex()
        return Page(
            f'<script type="application/ld+json">{json.dumps({**product, "offers": offer})}</script>'
            f"{links}<!-- {random.Random(number).randbytes(self._padding // 2).hex()} -->"
        )

    def __iter__(self) -> Any:
        return (f"/p/item-{n}" for n in range(self._count))

    def __len__(self) -> int:
        return self._count


def write_site(folder: Path, server: WebServer) -> None:
    """The site of such a shop, for SITES_DIR."""
    (folder / "tree.toml").write_text(
        f'name = "tree"\ndomains = ["{server.domain}"]\nseeds = ["{server.url}/p/item-0"]\nidentity = "sku"\n'
        '[follow]\nallow = ["/p/"]\n[product]\nallow = ["/p/"]\n[limits]\ndelay = 0.0\nconcurrency = 64\n'
    )
