"""A response as a page: its tree, its links, and the product that it shows; read once, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from scrapy.http import Response, TextResponse
from scrapy.selector import Selector

from crawlers.extraction import Extraction, extract
from crawlers.links import absolute

if TYPE_CHECKING:
    from lxml import etree

    from crawlers.site_config import Site

_extractions: WeakKeyDictionary[Response, Extraction] = WeakKeyDictionary()
_roots: WeakKeyDictionary[Response, Any] = WeakKeyDictionary()
_links: WeakKeyDictionary[Response, list[str]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class PageReading:
    """Of a response of a site. It must be of markup."""

    response: TextResponse
    site: Site

    @property
    def root(self) -> etree._Element:
        """The document's root element."""
        if self.response not in _roots:
            # response.selector would be a cycle around the whole tree
            _roots[self.response] = Selector(_rightly_decoded(self.response)).root
        return _roots[self.response]

    @property
    def extraction(self) -> Extraction:
        """What its structured data says."""
        if self.response not in _extractions:
            site = self.site
            found = extract(self.root, self.response.url, locale=site.locale, currency=site.currency)
            _extractions[self.response] = found
        return _extractions[self.response]

    @property
    def links(self) -> list[str]:
        """Where they lead, each once: absolute, without fragments."""
        if self.response not in _links:
            hrefs = [href for link in self.root.iter("a") if (href := link.get("href"))]
            _links[self.response] = absolute(self.response.urljoin(""), hrefs)
        return _links[self.response]


def is_markup(response: Response) -> bool:
    """Whether it may be a page; Scrapy takes a PDF for text where its first bytes look like it."""
    if not isinstance(response, TextResponse):
        return False
    declared = (response.headers.get("Content-Type") or b"text/html").decode("latin-1").lower()
    return declared.startswith("text/") or "html" in declared or "xml" in declared


def _rightly_decoded(response: TextResponse) -> TextResponse:
    """`response` as UTF-8 where it claims to be Latin-1 and its bytes can only be UTF-8."""
    if response.encoding != "cp1252" or response.body.isascii():
        return response
    try:
        response.body.decode("utf-8")
    except UnicodeDecodeError:
        return response
    return response.replace(encoding="utf-8")
