"""RDFa Lite: vocab, typeof, property, resource and prefix to Things, for schema.org's terms."""

from __future__ import annotations

from functools import partial

from lxml import etree

from crawlers.extraction.markup import MAX_ELEMENTS, Owners, element_value
from crawlers.extraction.thing import Thing, local_name

_stated = etree.XPath("descendant-or-self::*/@property/..")
_prefixes = etree.XPath("descendant-or-self::*/@prefix", smart_strings=False)
_SCHEMA = ("http://schema.org", "https://schema.org", "http://www.schema.org", "https://www.schema.org")


def read_rdfa(root: etree._Element, typed: list[etree._Element], base: str) -> list[Thing]:
    """The top-level items whose type is a schema.org term, in document order."""
    terms = _Terms(root)
    read = partial(_read, base)
    scopes = {element: _thing(element, terms, read) for element in typed}
    if not any(thing.types for thing in scopes.values()):
        return []
    return _attach(_stated(root)[:MAX_ELEMENTS], scopes, terms)


def _read(base: str, name: str, element: etree._Element) -> str:
    resource = element.get("resource")
    return resource if resource is not None else element_value(name, element, base)


def _thing(element: etree._Element, terms: _Terms, read: partial[str]) -> Thing:
    names = (terms.name(term, element) for term in element.get("typeof")[:1_000].split())
    thing = Thing(tuple(name for name in names if name), element.get("resource") or element.get("about"))
    thing.read = read
    return thing


def _attach(stated: list[etree._Element], scopes: dict[etree._Element, Thing], terms: _Terms) -> list[Thing]:
    owners = Owners(scopes.__contains__)
    by_resource = {thing.id: thing for thing in scopes.values() if thing.id}
    nested = set()
    for element in stated:
        owner = owners.of(element)
        names = [terms.name(term, element) for term in element.get("property")[:500].split()]
        thing = scopes.get(element) or by_resource.get(element.get("resource"))
        if owner is None or not any(names) or scopes[owner] is thing:
            continue
        if thing is not None:
            nested.add(thing)
        for name in filter(None, names):
            scopes[owner].add(name, thing if thing is not None else element)
    return [thing for thing in scopes.values() if thing.types and thing not in nested]


class _Terms:
    """Which terms are schema.org's: by IRI, by a prefix bound to it, or bare under its vocabulary."""

    def __init__(self, root: etree._Element) -> None:
        self._prefixes = {"schema", "s"}
        for declaration in _prefixes(root)[:100]:
            words = declaration[:2_000].split()
            self._prefixes |= {
                prefix.rstrip(":").lower()
                for prefix, iri in zip(words[::2], words[1::2], strict=False)
                if iri.lower().startswith(_SCHEMA)
            }
        self._owners = Owners(_has_vocabulary)

    def name(self, term: str, element: etree._Element) -> str | None:
        """The local name in lower case; None where the term is of another vocabulary."""
        prefix, colon, _ = term.partition(":")
        if not colon:
            return local_name(term) if self._is_schema(element) else None
        known = prefix.lower() in self._prefixes or term.lower().startswith(_SCHEMA)
        return local_name(term) if known else None

    def _is_schema(self, element: etree._Element) -> bool:
        scope = element if _has_vocabulary(element) else self._owners.of(element)
        return scope is not None and scope.get("vocab").strip().lower().startswith(_SCHEMA)


def _has_vocabulary(element: etree._Element) -> bool:
    return element.get("vocab") is not None
