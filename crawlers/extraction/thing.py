"""One node of structured data, the same whichever syntax it was written in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class Thing:
    """A schema.org item: its types and properties by lower-case local name, each property a list of values.

    A value is a `str`, `int`, `float`, `bool` or another Thing. Markup stores elements and reads them on demand
    through `read(property name, element)`: a category page has hundreds of values and few are asked for.
    Things may refer to each other in cycles.
    """

    __slots__ = ("id", "properties", "read", "types")

    def __init__(self, types: tuple[str, ...] = (), identifier: str | None = None) -> None:
        self.types = types
        self.id = identifier
        self.properties: dict[str, list[Any]] = {}
        self.read: Callable[[str, Any], Any] | None = None

    def add(self, name: str, value: Any) -> None:
        self.properties.setdefault(name, []).append(value)

    def all(self, *names: str) -> Iterator[Any]:
        """The values of each of these properties, in the order of the names."""
        for name in names:
            for value in self.properties.get(name, ()):
                if self.read is None or isinstance(value, Thing):
                    yield value
                else:
                    yield self.read(name, value)

    def things(self, *names: str) -> Iterator[Thing]:
        """Those of these properties' values that are Things; nothing is read from markup for it."""
        for name in names:
            yield from (value for value in self.properties.get(name, ()) if isinstance(value, Thing))


class VisibleText(str):
    """Text that was written for people, not a machine-readable value: its numbers follow the page's locale."""

    __slots__ = ()


def local_name(term: str) -> str:
    """The lower-case name without IRI or prefix: 'http://schema.org/Product' and 'schema:product' are 'product'."""
    name = term.strip().lower()
    if ":" in name or "/" in name:
        name = name.rstrip("/#").replace("#", "/").replace(":", "/").rpartition("/")[2]
    return name
