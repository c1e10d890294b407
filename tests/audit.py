"""The audit trail as a consumer reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support import Consumed, Seine, consume


def events_of(seine: Seine) -> list[Consumed]:
    return consume(seine.env, seine.env["KAFKA_TOPIC_PAGES"])


def by_path(records: list[Consumed]) -> dict[str, list[dict[str, Any]]]:
    """The events of each path, by attempt."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda one: one.value["attempt"]):
        path = "/" + record.value["url"].partition("//")[2].partition("/")[2]
        found.setdefault(path, []).append(record.value)
    return found


def of(event: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(event[name] for name in names)
