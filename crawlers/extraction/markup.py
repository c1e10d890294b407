"""What microdata and RDFa share: an element with a property belongs to its nearest ancestor that is an item."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lxml import etree

from crawlers.extraction.terms import term_set
from crawlers.extraction.thing import VisibleText
from crawlers.extraction.values import parse_url

MAX_ELEMENTS = 20_000

text_of = etree.XPath("string()", smart_strings=False)
_marked = etree.XPath("(descendant-or-self::*/@itemprop | descendant-or-self::*/@typeof)/..")

URL_PROPERTIES = term_set(
    """
    url image logo thumbnailurl contenturl availability itemcondition sameas item id additionaltype
    """
)
"""Properties whose value is an address: of any other, a link's text is the value that its author meant."""

_ADDRESS_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "a": ("href",), "area": ("href",), "link": ("href",), "audio": ("src",), "embed": ("src",), "iframe": ("src",),
    "img": ("src", "data-src"), "source": ("src",), "track": ("src",), "video": ("src",), "object": ("data",),
}  # fmt: skip
_MACHINE_ATTRIBUTES: Mapping[str, str] = {"data": "value", "meter": "value", "time": "datetime"}
_LINKS = frozenset({"a", "area"})


class Marked(NamedTuple):
    """The elements that carry structured data, in document order."""

    properties: list[etree._Element]
    """Those with `itemprop`."""
    typed: list[etree._Element]
    """Those with `typeof`."""


def scan(root: etree._Element) -> Marked:
    """Finds both syntaxes in one walk: walking costs more than all that is done with what it finds.
    Attribute paths take libxml2 two thirds of the time that predicates do.
    """
    found = _marked(root)[:MAX_ELEMENTS]
    properties = [element for element in found if element.get("itemprop") is not None]
    return Marked(properties, [element for element in found if element.get("typeof") is not None])


class Owners:
    """Finds the item that an element belongs to; remembers every step, so that all lookups together are linear."""

    def __init__(self, is_scope: Callable[[etree._Element], bool]) -> None:
        self._is_scope = is_scope
        self._known: dict[etree._Element, etree._Element | None] = {}

    def of(self, element: etree._Element) -> etree._Element | None:
        """The nearest ancestor, not itself, that is a scope."""
        path: list[etree._Element] = []
        node = element.getparent()
        while node is not None and node not in self._known:
            path.append(node)
            if self._is_scope(node):
                break
            node = node.getparent()
        owner = self._known.get(node, node)
        if path and path[-1] is node:
            path.pop()
        for passed in path:
            self._known[passed] = owner
        return owner


def element_value(name: str, element: etree._Element, base: str) -> str:
    """The value of a property's element by the HTML standard's rules; a `content` attribute wins on any element,
    as search engines have it.
    """
    content = element.get("content")
    if content is not None:
        return str(content)
    tag = element.tag
    attributes = _ADDRESS_ATTRIBUTES.get(tag)
    if attributes and (tag not in _LINKS or name in URL_PROPERTIES):
        return _address(element, attributes, base)
    machine = element.get(_MACHINE_ATTRIBUTES[tag]) if tag in _MACHINE_ATTRIBUTES else None
    return str(machine) if machine is not None else VisibleText(text_of(element))


def _address(element: etree._Element, attributes: tuple[str, ...], base: str) -> str:
    raw = next((value for value in map(element.get, attributes) if value and not value.startswith("data:")), "")
    return parse_url(raw, base) or raw
