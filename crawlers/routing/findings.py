"""What a page has of what its kind is fetched for, and whether the browser's page has more of it than HTTP's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crawlers.reading import PageReading
from crawlers.routing.patterns import kind_of

if TYPE_CHECKING:
    from scrapy.http import TextResponse

    from crawlers.routing.knowledge import Look
    from crawlers.routing.patterns import Kind
    from crawlers.site_config import Site

_FIELDS = ("name", "sku", "price", "currency", "availability")
"""Of a product, that may come by a script."""
_COMPLETE = ("name", "price")
_MORE_LINKS = 1.1
"""Times as many links: fewer may be a widget that changes with each view."""
_SCRIPT = rb"<script(?!(?i:[^>]*\btype\s*=\s*[\"']?application/(?:ld\+)?json))"
_HAS_SCRIPT = re.compile(_SCRIPT).search
"""As nearly all pages write it, and quicker to find."""
_CHANGES = re.compile(
    _SCRIPT + rb"|<(?:iframe|frame|object|embed)\b|<meta[^>]+refresh|\son[a-z]+\s*=", re.IGNORECASE
).search


def may_change(body: bytes) -> bool:
    """Whether a browser may show something else than the document: it has scripts, frames, or a refresh."""
    return _HAS_SCRIPT(body) is not None or _CHANGES(body) is not None


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one page."""

    kind: Kind
    product: dict[str, Any] | None = None
    products: frozenset[str] = frozenset()
    """Wanted links that may lead to products."""
    own: frozenset[str] = frozenset()
    """Other wanted links that belong to this page: of its path, or below it, as further pages of a list are."""

    @property
    def look(self) -> Look:
        """Whether it has what its kind is fetched for."""
        if self.product is not None and all(self.product.get(name) for name in _COMPLETE):
            return "full"
        return "full" if self.kind == "page" and self.products else "bare"

    def is_more_than(self, other: Findings) -> bool:
        """Whether `other` lacks something of this. Of a product's page the product alone counts: what else it shows
        leads to what lists show, too.
        """
        if self.product is not None and _lacks(other.product, self.product):
            return True
        if self.kind == "product":
            return False
        has_new = bool(self.products - other.products)
        return (has_new and len(self.products) >= _MORE_LINKS * len(other.products)) or bool(self.own - other.own)


def findings_of(response: TextResponse, site: Site, url: str) -> Findings:
    """Of the page that was asked for as `url`."""
    reading, kind = PageReading(response, site), kind_of(url, site)
    is_as_asked = kind == "product" and response.url == url
    product = reading.extraction.product if is_as_asked or site.product.match(response.url) else None
    if kind == "product":
        return Findings(kind, product)
    wanted = [link for link in reading.links if site.wants(link)]
    products = frozenset(link for link in wanted if site.product.match(link))
    path = _path_of(response.url)
    own = frozenset(link for link in wanted if link not in products and _is_at_or_below(path, _path_of(link)))
    return Findings(kind, product, products, own)


def _lacks(plain: dict[str, Any] | None, rendered: dict[str, Any]) -> bool:
    if plain is None:
        return True
    missing = any(rendered.get(name) is not None and plain.get(name) is None for name in _FIELDS)
    return missing or rendered.get("price", plain.get("price")) != plain.get("price")


def _is_at_or_below(path: str, other: str) -> bool:
    return other.startswith(path) and other[len(path) : len(path) + 1] in ("", "/")


@lru_cache(16_384)
def _path_of(url: str) -> str:
    return urlsplit(url).path.rstrip("/")
