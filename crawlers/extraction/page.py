"""What a page says about itself: headings, meta tags, addresses, language. Gathered in one pass over the tree."""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml import etree

from crawlers.extraction.markup import text_of
from crawlers.extraction.values import parse_language, parse_text, parse_url, split_url

_MAX_HEADINGS = 10
_MAX_METAS = 1_000


@dataclass(slots=True)
class Page:
    """The facts of one page that every syntax is read against."""

    url: str
    base: str
    """What relative addresses resolve against: `<base href>`, else the page's URL."""
    headings: list[str] = field(default_factory=list)
    """The texts of the first h1 elements."""
    title: str | None = None
    metas: dict[str, list[str]] = field(default_factory=dict)
    """Contents by lower-case property or name, in document order."""
    blocks: list[str] = field(default_factory=list)
    """The texts of the JSON-LD script elements."""
    canonical_url: str | None = None
    language: str | None = None
    locale: str | None = None
    """The page's language, else the site's: what ambiguous numbers and signs are read by."""

    @property
    def country(self) -> str:
        """The country-code top-level domain of the page's host; empty for a generic one."""
        suffix = (split_url(self.url).hostname or "").rpartition(".")[2]
        return suffix if len(suffix) == 2 else ""

    def meta(self, *names: str) -> str | None:
        """The first non-empty content of the first of these names that has one."""
        return next((content for name in names for content in self.metas.get(name, ()) if content.strip()), None)


def read_page(root: etree._Element, url: str, locale: str | None) -> Page:
    page = Page(url, url)
    canonicals: list[str] = []
    for element in root.iter("meta", "link", "script", "h1", "title", "base"):
        _READERS[element.tag](element, page, canonicals)
    page.canonical_url = _canonical(page, canonicals)
    page.language = _language(root, page)
    page.locale = page.language or locale
    return page


def _read_meta(element: etree._Element, page: Page, _: list[str]) -> None:
    name = element.get("property") or element.get("name") or element.get("http-equiv")
    content = element.get("content")
    if name and content and len(page.metas) < _MAX_METAS:
        page.metas.setdefault(name[:200].strip().lower(), []).append(content)


def _read_link(element: etree._Element, page: Page, canonicals: list[str]) -> None:
    rel = element.get("rel")
    if rel and "canonical" in rel.lower().split():
        canonicals.append(element.get("href") or "")


def _read_script(element: etree._Element, page: Page, _: list[str]) -> None:
    kind = element.get("type")
    if kind and "ld+json" in kind.lower():
        page.blocks.append(element.text or "")


def _read_h1(element: etree._Element, page: Page, _: list[str]) -> None:
    text = parse_text(text_of(element)) if len(page.headings) < _MAX_HEADINGS else None
    if text:
        page.headings.append(text)


def _read_title(element: etree._Element, page: Page, _: list[str]) -> None:
    if page.title is None:
        page.title = parse_text(element.text)


def _read_base(element: etree._Element, page: Page, _: list[str]) -> None:
    if page.base == page.url:
        page.base = parse_url(element.get("href"), page.url) or page.url


_READERS = {
    "meta": _read_meta,
    "link": _read_link,
    "script": _read_script,
    "h1": _read_h1,
    "title": _read_title,
    "base": _read_base,
}


def _canonical(page: Page, canonicals: list[str]) -> str | None:
    stated = (parse_url(href, page.base) for href in (*canonicals, page.meta("og:url")))
    return next((address for address in stated if address), None)


def _language(root: etree._Element, page: Page) -> str | None:
    stated = (root.get("lang"), root.get("{http://www.w3.org/XML/1998/namespace}lang"), root.get("xml:lang"))
    tags = map(parse_language, (*stated, page.meta("content-language"), page.meta("og:locale")))
    return next((tag for tag in tags if tag), None)
