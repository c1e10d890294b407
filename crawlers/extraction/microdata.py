"""Microdata: itemscope and itemprop to Things."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from lxml import etree

from crawlers.extraction.markup import MAX_ELEMENTS, Owners, element_value
from crawlers.extraction.thing import Thing, local_name

_MAX_REFERENCES = 200
_marked = etree.XPath("descendant-or-self::*[@itemprop or @itemscope]")
_referring = etree.XPath("boolean(descendant-or-self::*[@itemref])")
_by_id = etree.XPath("//*[@id=$id][1]")
_properties = etree.XPath("descendant-or-self::*[@itemprop]")


class Microdata(NamedTuple):
    things: list[Thing]
    """The top-level items, in document order."""
    loose: Thing | None
    """Properties outside any item, as if they were of one; None where there are none."""


def read_microdata(root: etree._Element, base: str) -> Microdata:
    """The items of the tree. Values stay elements until they are asked for."""
    marked = _marked(root)[:MAX_ELEMENTS]
    if not marked:
        return Microdata([], None)
    read = partial(_read, base)
    scopes = {element: _thing(element, read) for element in marked if element.get("itemscope") is not None}
    loose = Thing()
    loose.read = read
    top = _attach(marked, scopes, loose)
    if scopes and _referring(root):
        _resolve_references(root, scopes)
    return Microdata(top, loose if loose.properties else None)


def _read(base: str, name: str, element: etree._Element) -> str:
    return element_value(name, element, base)


def _thing(element: etree._Element, read: partial[str]) -> Thing:
    types = (element.get("itemtype") or "")[:1_000].split()
    thing = Thing(tuple(local_name(name) for name in types), element.get("itemid"))
    thing.read = read
    return thing


def _attach(marked: list[etree._Element], scopes: dict[etree._Element, Thing], loose: Thing) -> list[Thing]:
    owners = Owners(scopes)
    top = []
    for element in marked:
        names = element.get("itemprop")
        owner = owners.of(element) if names else None
        thing = scopes.get(element)
        if owner is None and thing is not None:
            top.append(thing)
        elif names:
            _add(loose if owner is None else scopes[owner], names, thing if thing is not None else element)
    return top


def _add(owner: Thing, names: str, value: Thing | etree._Element) -> None:
    for name in names[:500].split():
        owner.add(local_name(name), value)


def _resolve_references(root: etree._Element, scopes: dict[etree._Element, Thing]) -> None:
    """`itemref` names elements elsewhere whose properties belong to the item too."""
    left = _MAX_REFERENCES
    for element, thing in list(scopes.items()):
        for identifier in (element.get("itemref") or "")[:2_000].split():
            left -= 1
            if left < 0:
                return
            for referred in _by_id(root, id=identifier)[:1]:
                _attach_subtree(referred, thing, scopes)


def _attach_subtree(referred: etree._Element, thing: Thing, scopes: dict[etree._Element, Thing]) -> None:
    owners = Owners(scopes)
    outer = owners.of(referred)
    for element in _properties(referred)[:MAX_ELEMENTS]:
        inner = scopes.get(element)
        if inner is not thing and (element is referred or owners.of(element) is outer):
            _add(thing, element.get("itemprop"), inner if inner is not None else element)
