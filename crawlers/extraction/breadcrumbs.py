"""The trail of categories, from a BreadcrumbList of any syntax."""

from __future__ import annotations

from collections.abc import Iterable

from crawlers.extraction.product import first
from crawlers.extraction.thing import Thing
from crawlers.extraction.values import parse_number, parse_text

_MAX_CRUMBS = 30


def read_breadcrumbs(trails: Iterable[Thing]) -> list[str]:
    """The names of the first trail that has any, by their positions where all have one."""
    return next((names for names in map(_names, trails) if names), [])


def _names(trail: Thing) -> list[str]:
    crumbs = list(trail.things("itemlistelement", "itemlist"))[:_MAX_CRUMBS]
    places = [first(parse_number, [crumb], "position") for crumb in crumbs]
    if crumbs and None not in places:
        crumbs = [crumb for _, crumb in sorted(zip(places, crumbs, strict=True), key=lambda pair: pair[0])]
    return [name for name in map(_name, crumbs) if name]


def _name(crumb: Thing) -> str | None:
    for holder in (crumb, *crumb.things("item")):
        name: str | None = first(parse_text, [holder], "name", "title")
        if name:
            return name
    return None
