"""What a page has of what its kind is fetched for, and whether the browser's page has more of it than HTTP's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crawlers.links import absolute
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
_CHANGES = re.compile(
    rb"<script(?![^>]*\btype\s*=\s*[\"']?application/(?:ld\+)?json)|<(?:iframe|frame|object|embed)\b|<meta[^>]+refresh"
    rb"|\son[a-z]+\s*=",
    re.IGNORECASE,
).search


def may_change(body: bytes) -> bool:
    """Whether a browser may show something else than the document: it has scripts, frames, or a refresh."""
    return _CHANGES(body) is not None


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
    product = reading.extraction.product if site.product.match(response.url) else None
    if kind == "product":
        return Findings(kind, product)
    wanted = {link for link in absolute(response.urljoin(""), reading.hrefs) if site.wants(link)}
    products = {link for link in wanted if site.product.match(link)}
    own = {link for link in wanted - products if _belongs_to(link, response.url)}
    return Findings(kind, product, frozenset(products), frozenset(own))


def _lacks(plain: dict[str, Any] | None, rendered: dict[str, Any]) -> bool:
    if plain is None:
        return True
    missing = any(rendered.get(name) is not None and plain.get(name) is None for name in _FIELDS)
    return missing or rendered.get("price", plain.get("price")) != plain.get("price")


def _belongs_to(link: str, url: str) -> bool:
    path, own = urlsplit(link).path.rstrip("/"), urlsplit(url).path.rstrip("/")
    return path == own or path.startswith(f"{own}/")
