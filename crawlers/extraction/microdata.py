"""Microdata: itemscope and itemprop to Things."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from lxml import etree

from crawlers.extraction.markup import MAX_ELEMENTS, Owners, element_value
from crawlers.extraction.thing import Thing, local_name

_MAX_REFERENCES = 200
_referring = etree.XPath("descendant-or-self::*/@itemref/..")
_by_id = etree.XPath("//*[@id=$id][1]")
_properties = etree.XPath("descendant-or-self::*/@itemprop/..")


class Microdata(NamedTuple):
    things: list[Thing]
    """The top-level items, in the order of their first properties."""
    loose: Thing | None
    """Properties outside any item, as if they were of one; None where there are none."""


def read_microdata(root: etree._Element, stating: list[etree._Element], base: str) -> Microdata:
    """The items that the elements with `itemprop` belong to. Values stay elements until they are asked for."""
    reader = _Reader(base)
    for element in stating:
        reader.attach(element)
    loose = reader.loose.properties
    if loose or any("itemref" in scope.attrib for scope in reader.scopes):
        reader.resolve_references(root)
    return Microdata(reader.top, reader.loose if loose else None)


class _Reader:
    def __init__(self, base: str) -> None:
        self._read = partial(_read, base)
        self._owners = Owners(_is_scope)
        self.scopes: dict[etree._Element, Thing] = {}
        self.top: list[Thing] = []
        self.loose = Thing()
        self.loose.read = self._read

    def attach(self, element: etree._Element) -> None:
        """Gives the element's property to the item that it belongs to."""
        owner = self._owners.of(element)
        value = self._thing(element) if _is_scope(element) else element
        self._add(self.loose if owner is None else self._thing(owner), element, value)

    def _thing(self, scope: etree._Element) -> Thing:
        thing = self.scopes.get(scope)
        if thing is None:
            types = (scope.get("itemtype") or "")[:1_000].split()
            thing = self.scopes[scope] = Thing(tuple(local_name(name) for name in types), scope.get("itemid"))
            thing.read = self._read
            if scope.get("itemprop") is None or self._owners.of(scope) is None:
                self.top.append(thing)
        return thing

    def _add(self, owner: Thing, element: etree._Element, value: Thing | etree._Element) -> None:
        for name in (element.get("itemprop") or "")[:500].split():
            owner.add(local_name(name), value)

    def resolve_references(self, root: etree._Element) -> None:
        """`itemref` names elements elsewhere whose properties belong to the item too."""
        left = _MAX_REFERENCES
        for scope in filter(_is_scope, _referring(root)[:MAX_ELEMENTS]):
            for identifier in (scope.get("itemref") or "")[:2_000].split()[:left]:
                left -= 1
                for referred in _by_id(root, id=identifier)[:1]:
                    self._attach_subtree(referred, self._thing(scope))

    def _attach_subtree(self, referred: etree._Element, thing: Thing) -> None:
        outer = self._owners.of(referred)
        for element in _properties(referred)[:MAX_ELEMENTS]:
            value = self._thing(element) if _is_scope(element) else element
            if value is not thing and (element is referred or self._owners.of(element) is outer):
                self._add(thing, element, value)


def _is_scope(element: etree._Element) -> bool:
    return element.get("itemscope") is not None


def _read(base: str, name: str, element: etree._Element) -> str:
    return element_value(name, element, base)
