"""All sources of one page to one product, field by field, the most trusted first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lxml import etree

from crawlers.extraction.breadcrumbs import read_breadcrumbs
from crawlers.extraction.jsonld import read_jsonld
from crawlers.extraction.markup import scan
from crawlers.extraction.microdata import read_microdata
from crawlers.extraction.opengraph import declares_product, read_opengraph
from crawlers.extraction.page import Page, read_page
from crawlers.extraction.product import ProductReader
from crawlers.extraction.rdfa import read_rdfa
from crawlers.extraction.subject import Candidate, Mentioned, Subject, survey
from crawlers.extraction.thing import Thing

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a page's structured data says."""

    product: dict[str, Any] | None
    """Fields of crawlers.items.Product, only those found; None where the page shows no product."""
    canonical_url: str | None
    """Absolute http(s): link rel=canonical, else og:url."""
    sources: dict[str, str]
    """The syntax that each field came from: json-ld, microdata, rdfa, opengraph or html."""
    language: str | None
    """The page's BCP 47 tag, product or not."""
    title: str | None


def extract(root: etree._Element, url: str, *, locale: str | None = None, currency: str | None = None) -> Extraction:
    """Reads the product of a parsed page; the tree is neither changed nor parsed again.

    `url` is the page's address after redirects. `locale` (BCP 47) and `currency` (ISO 4217) are the site's own, used
    where the page states none: the locale for ambiguous numbers and signs, the currency beside a price without one.
    Never raises for what a page contains.
    """
    page = read_page(root, url, locale)
    product, sources = _Merger(root, page, currency).merge()
    if product is not None:
        _complete(product, sources, page, currency)
    return Extraction(product, page.canonical_url, sources, page.language, page.title)


def _complete(product: Fields, sources: dict[str, str], page: Page, currency: str | None) -> None:
    if "price" in product and "currency" not in product and currency:
        product["currency"] = currency
    for name, value in (("language", page.language), ("canonical_url", page.canonical_url)):
        if value:
            product[name] = value
            sources[name] = "html"


class _Merger:
    def __init__(self, root: etree._Element, page: Page, currency: str | None) -> None:
        self._root = root
        self._page = page
        self._currency = currency
        self._is_declared = declares_product(page)
        self._subject = Subject(page, self._is_declared)
        self._reader = ProductReader(page, currency)
        self._loose: Thing | None = None

    def merge(self) -> tuple[Fields | None, dict[str, str]]:
        found = False
        product: Fields = {}
        sources: dict[str, str] = {}
        for source, things in self._syntaxes():
            mentioned = survey(things)
            fields = self._fields(mentioned)
            found = found or fields is not None
            fields = fields or {}
            if fields.get("name") and "name" not in product:
                self._subject.learn(fields["name"])
            fields["breadcrumbs"] = read_breadcrumbs(mentioned.breadcrumbs)
            _fill(product, sources, fields, source)
        if not found and not self._is_declared:
            return None, {}
        if self._loose is not None:
            _fill(product, sources, self._reader.read(Candidate(self._loose, False), []), "microdata")
        _fill(product, sources, read_opengraph(self._page, self._currency), "opengraph")
        return product or None, sources

    def _syntaxes(self) -> Iterator[tuple[str, list[Thing]]]:
        if self._page.blocks:
            yield "json-ld", read_jsonld(self._page.blocks)
        marked = scan(self._root)
        if marked.properties:
            things, self._loose = read_microdata(self._root, marked.properties, self._page.base)
            yield "microdata", things
        if marked.typed:
            yield "rdfa", read_rdfa(self._root, marked.typed, self._page.base)

    def _fields(self, mentioned: Mentioned) -> Fields | None:
        chosen = self._subject.choose(mentioned.products)
        if chosen is None:
            return None
        chosen.twins = [
            other.thing for other in mentioned.products if other is not chosen and other.name == chosen.name != ""
        ]
        return self._reader.read(chosen, mentioned.offers)


def _fill(product: Fields, sources: dict[str, str], fields: Fields, source: str) -> None:
    """Adds what is missing. A price brings its own currency along: amounts of one source and codes of another
    may be about different offers.
    """
    takes_price = fields.get("price") is not None and "price" not in product
    if takes_price and fields.get("currency"):
        product.pop("currency", None)
    for name, value in fields.items():
        if name not in product and value is not None and value != []:
            product[name] = value
            sources[name] = source
