"""What the audit trail tells of a request that Redis no longer knows."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from crawlers.exceptions import SeineError
from crawlers.records_by_key import KeyReader

PATIENCE = 60.0
"""Seconds that it is looked through, unless said otherwise."""
_FIRST = 1
"""The number of a request's first attempt: what is older is of no interest."""
_NAMED_BY_TIME = re.compile(r"(\d{8}T\d{6})Z-[0-9a-f]{4}")
_MARGIN = 60.0
"""Seconds that clocks may differ by."""
_BETWEEN_LINES = 1.0
"""Seconds, of the progress on a terminal; elsewhere it is told ten times less often."""


@dataclass(frozen=True, slots=True)
class TrailSearch:
    """How far the trail is looked through."""

    crawl: str | None = None
    """The crawl that is meant; without it, the one of the newest event."""
    since: float = 0.0
    """Seconds since the epoch."""
    seconds: float = PATIENCE
    """That it may take."""

    @property
    def begin(self) -> float:
        """The moment to read back to: a crawl that is named by its time has no events before it."""
        match = _NAMED_BY_TIME.fullmatch(self.crawl or "")
        if match is None:
            return self.since
        opened = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        return max(self.since, opened.timestamp() - _MARGIN)


@dataclass(slots=True)
class History:
    """The events of a request in one crawl, of all its attempts as far as they were found."""

    topic: str
    events: list[dict[str, Any]] = field(default_factory=list)
    """The oldest first, as pages.avsc describes them."""
    until: datetime | None = None
    """The moment that was read back to; None where the topic has nothing in question."""
    is_done: bool = True
    """Whether everything in question was read."""
    trouble: str = ""
    """Why the trail could not be read."""

    @property
    def told(self) -> dict[str, Any]:
        """As JSON tells it."""
        return {
            "topic": self.topic,
            "events": [{**event, "ended_at": event["ended_at"].isoformat()} for event in self.events],
            "until": self.until.isoformat() if self.until else None,
            "is_done": self.is_done,
            "trouble": self.trouble,
        }

    @classmethod
    def read(cls, settings: Any, fingerprint: bytes, search: TrailSearch) -> Self:
        """Blocks; tells its progress on stderr. What keeps it from reading is told in `trouble`."""
        history = cls(settings["KAFKA_TOPIC_PAGES"])
        try:
            with KeyReader(settings, history.topic) as reader:
                history._collect(reader, fingerprint[:8].hex().encode(), search)
        except SeineError as error:
            history.trouble = str(error)
        return history

    def _collect(self, reader: KeyReader, key: bytes, search: TrailSearch) -> None:
        progress, crawl = _Progress(reader, self.topic), search.crawl
        for record in reader.newest_first(key, search.begin, search.seconds, progress.tell):
            event = record["value"]
            crawl = crawl or event["crawl_id"]
            if event["crawl_id"] == crawl:
                self.events.insert(0, event)
                if event["attempt"] == _FIRST:
                    break
        else:
            self.is_done = reader.is_done
        progress.end()
        self.until = datetime.fromtimestamp(reader.until, UTC) if reader.until else None


class _Progress:
    """One line on stderr, while there is reason to wait."""

    def __init__(self, reader: KeyReader, topic: str):
        self._reader = reader
        self._topic = topic
        self._is_terminal = sys.stderr.isatty()
        self._next = time.monotonic() + _BETWEEN_LINES
        self._is_told = False

    def tell(self) -> None:
        """Some more was read."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _BETWEEN_LINES * (1 if self._is_terminal else 10)
        self._is_told = True
        reader = self._reader
        back_to = f"{datetime.fromtimestamp(reader.until or 0, UTC):%Y-%m-%d %H:%M}"
        line = f"{self._topic}: {reader.read:,} of {reader.to_read:,} events read, back to {back_to}"
        start, end = ("\r", "") if self._is_terminal else ("", "\n")
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._is_told and self._is_terminal:
            print(file=sys.stderr)
