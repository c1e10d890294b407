"""Finds the records of one key: in its one partition, from the newest back."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from crawlers.records import RecordReader
from pipelines.partitions import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STEP = 20_000
"""Offsets of the first look back; each next one is twice as long, up to _LONGEST_STEP."""
_LONGEST_STEP = 320_000
_TIMEOUT = 10.0
_FETCH_WAIT = 10
"""Milliseconds that the broker may hold an answer back at the topic's end: each look back would wait for it."""
_NOTHING_LATER = -1
"""Instead of an offset, where no record is as young as that."""


class KeyReader(RecordReader):
    """Reads back from a topic's end, for as long as it may.

    `read` and `to_read` count offsets, and `until` is the moment that it has read back to, in seconds since the epoch.
    A topic that got more partitions keeps older records where they were: they are not found.
    """

    read = 0
    to_read = 0
    until: float | None = None

    def __init__(self, settings: Any, topic: str):
        super().__init__(settings, topic, options={"fetch.wait.max.ms": _FETCH_WAIT})

    def newest_first(
        self, key: bytes, since: float, seconds: float, on_progress: Callable[[], None] = lambda: None
    ) -> Iterator[dict[str, Any]]:
        """The records of `key` from the newest back to the moment `since`, for `seconds` at most."""
        ends = self._ends()
        partition = partition_of(key, len(ends))
        low, end = ends[partition]
        first = max(low, self._offset_at(partition, since, end))
        step, deadline = _STEP, monotonic() + seconds
        self.to_read = max(0, end - first)
        while end > first:
            begin = max(first, end - step)
            messages = self._part(partition, begin, end, key, deadline)
            if messages is None:
                return
            yield from (self.decoded(message) for message in reversed(messages))
            self.read += end - begin
            on_progress()
            end, step = begin, min(2 * step, _LONGEST_STEP)

    @property
    def is_done(self) -> bool:
        """Whether all of it was read."""
        return self.read >= self.to_read

    def _offset_at(self, partition: int, moment: float, end: int) -> int:
        """The first offset that is not older than `moment`."""
        asked = TopicPartition(self._topic, partition, max(0, round(moment * 1000)))
        try:
            [found] = self._consumer.offsets_for_times([asked], timeout=_TIMEOUT)
        except KafkaException as error:
            raise self._no_answer(error.args[0]) from None
        return end if found.offset == _NOTHING_LATER else int(found.offset)

    def _part(self, partition: int, begin: int, end: int, key: bytes, deadline: float) -> list[Any] | None:
        """The messages of `key` with offsets from `begin` to `end`; None where they were not read by `deadline`."""
        self._consumer.assign([TopicPartition(self._topic, partition, begin)])
        found: list[Any] = []
        oldest = None
        while monotonic() < deadline:
            for message in self._consumer.consume(1000, timeout=0.1):
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise self._no_answer(error)
                if (
                    error is not None or (message.offset() or 0) >= end
                ):  # transactions leave gaps: `end - 1` may be none
                    self.until = oldest or self.until
                    return found
                oldest = oldest or message.timestamp()[1] / 1000
                if message.key() == key:
                    found.append(message)
        return None
