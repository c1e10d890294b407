"""Who asked for what, when, with which headers."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

KEPT = 200_000
"""Entries; the oldest give way."""


@dataclass(slots=True)
class Entry:
    domain: str
    method: str
    path: str
    """With its query, as asked."""
    raw_headers: tuple[tuple[bytes, bytes], ...]
    start: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)
    end: float | None = None
    """None while the answer is under way."""
    status: int | None = None
    """None while, or where, no whole answer was begun by the page itself."""

    def finish(self) -> None:
        self.end = time.monotonic()

    def as_dict(self) -> dict[str, Any]:
        return {
            "domain": self.domain,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "start": self.start,
            "end": self.end,
            "wall": self.wall,
            "headers": self._headers(),
        }

    def _headers(self) -> dict[str, str]:
        """In the order sent; a repeated header's values are joined."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers


class AccessLog:
    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def clear(self) -> None:
        self._entries.clear()

    def entries(self, *, since: float = 0.0, path: str = "", domain: str = "") -> list[dict[str, Any]]:
        """In order of arrival; `since` is on the monotonic clock, `path` a part of the path and query."""
        return [
            entry.as_dict()
            for entry in list(self._entries)
            if entry.start >= since and path in entry.path and domain in ("", entry.domain)
        ]
