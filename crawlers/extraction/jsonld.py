"""JSON-LD: script blocks to Things, whatever state their JSON is in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from crawlers.extraction.mending import MAX_TEXT, mend
from crawlers.extraction.thing import Thing, local_name

MAX_NODES = 20_000
_REFERENCE_ONLY = frozenset({"@id"})


def read_jsonld(blocks: Iterable[str]) -> list[Thing]:
    """The top-level Things of all blocks, `@graph` unfolded, `@id` references resolved across blocks."""
    builder = _Builder()
    for block in blocks:
        if len(block) <= MAX_TEXT:
            builder.add(_parse(block))
    return builder.finish()


def _parse(text: str) -> list[Any]:
    try:
        return [orjson.loads(text)]
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return mend(text)


class _Builder:
    """Copies JSON into Things with an explicit stack: the page chooses the nesting, so recursion is no option."""

    def __init__(self) -> None:
        self.top: list[Thing] = []
        self.by_id: dict[str, Thing] = {}
        self.references: list[tuple[list[Any], int, str]] = []
        self.nodes = 0
        self.pending: list[tuple[Any, list[Any]]] = []

    def add(self, values: list[Any]) -> None:
        self.pending = [(value, self.top) for value in reversed(values)]
        while self.pending and self.nodes < MAX_NODES:
            value, target = self.pending.pop()
            if isinstance(value, dict):
                self._node(value, target)
            elif isinstance(value, list):
                self.pending.extend((entry, target) for entry in reversed(value))
            elif value is not None:
                target.append(value)

    def finish(self) -> list[Thing]:
        for values, place, identifier in self.references:
            values[place] = self.by_id.get(identifier, identifier)
        return [value for value in self.top if isinstance(value, Thing)]

    def _node(self, node: dict[str, Any], target: list[Any]) -> None:
        self.nodes += 1
        folded = {key.lower() if ":" not in key else local_name(key): value for key, value in node.items()}
        for wrapper in ("@value", "@list", "@set"):
            if wrapper in folded:
                self.pending.append((folded[wrapper], target))
                return
        identifier = folded.get("@id")
        if folded.keys() == _REFERENCE_ONLY and isinstance(identifier, str):
            self.references.append((target, len(target), identifier))
            target.append(identifier)
            return
        self._thing(folded, identifier if isinstance(identifier, str) else None, target)

    def _thing(self, folded: dict[str, Any], identifier: str | None, target: list[Any]) -> None:
        types = _types(folded.get("@type", folded.get("type")))
        thing = Thing(types, identifier)
        if types or not folded.keys() <= {"@graph", "@context", "@id"}:
            target.append(thing)
        if "@graph" in folded:
            self.pending.append((folded["@graph"], self.top))
        for name, value in reversed(folded.items()):
            if name[:1] != "@":
                self._property(thing, name, value)
        if identifier:
            self._name(identifier, thing)

    def _property(self, thing: Thing, name: str, value: Any) -> None:
        values: list[Any] = []
        thing.properties[name] = values
        if isinstance(value, dict | list):
            self.pending.append((value, values))
        elif value is not None:
            values.append(value)

    def _name(self, identifier: str, thing: Thing) -> None:
        """Two nodes of one @id describe one thing: the later one fills the gaps of the earlier."""
        first = self.by_id.setdefault(identifier, thing)
        if first is not thing and set(first.types) == set(thing.types):
            for name, values in thing.properties.items():
                first.properties.setdefault(name, values)


def _types(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (local_name(value[:200]),)
    if isinstance(value, list):
        return tuple(local_name(entry[:200]) for entry in value[:10] if isinstance(entry, str))
    return ()
