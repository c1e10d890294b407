"""How much is on its way to the sink: past the high-water mark nothing more is leased, until half of it is gone."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

import structlog

from crawlers import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.crawler import Crawler

log = structlog.get_logger("seine.sink")


class SinkLoad:
    """Records and bytes in flight of one worker. The producer tracks them, the frontier asks."""

    _shared: ClassVar[WeakKeyDictionary[Crawler, SinkLoad]] = WeakKeyDictionary()

    def __init__(self, most_records: int, most_bytes: int):
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._is_full = False
        self._closed: Counter[str] = Counter()
        self.records = 0
        self.bytes = 0

    @classmethod
    def of(cls, crawler: Crawler) -> Self:
        """The load of `crawler`'s process."""
        if crawler not in cls._shared:
            settings: Any = crawler.settings
            load = cls(settings.getint("SINK_HIGH_WATER_RECORDS"), settings.getint("SINK_HIGH_WATER_BYTES"))
            metrics.SINK_RECORDS.set_function(lambda: load.records)
            metrics.SINK_BYTES.set_function(lambda: load.bytes)
            cls._shared[crawler] = load
        return cls._shared[crawler]  # type: ignore[return-value]

    @contextmanager
    def track(self, size: int) -> Iterator[None]:
        """A record of `size` bytes is in flight."""
        self.add(1, size)
        try:
            yield
        finally:
            self.add(-1, -size)

    @contextmanager
    def closed(self, why: str) -> Iterator[None]:
        """Nothing more may be fetched meanwhile, whatever room there is."""
        self._closed[why] += 1
        try:
            yield
        finally:
            self._closed -= Counter((why,))

    def has_room(self) -> bool:
        """Whether more may be fetched."""
        if self._closed:
            return False
        if self._is_full:
            self._is_full = self.records > self._most_records // 2 or self.bytes > self._most_bytes // 2
            if not self._is_full:
                log.info("sink has room", records=self.records, bytes=self.bytes)
                metrics.SINK_FULL.set(0)
        elif self.records >= self._most_records or self.bytes >= self._most_bytes:
            self._is_full = True
            log.warning("sink full: leasing pauses", records=self.records, bytes=self.bytes)
            metrics.SINK_FULL.set(1)
        return not self._is_full

    def add(self, records: int, size: int) -> None:
        """So many more are in flight, or fewer."""
        self.records += records
        self.bytes += size
