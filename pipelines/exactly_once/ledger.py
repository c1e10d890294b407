"""The ledger: a compacted topic in which each transaction says which requests it holds. A slot is one partition."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from crawlers.exceptions import StartupError
from pipelines.kafka_config import client_config

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT = 10.0
_LONGEST_SILENCE = 60.0
"""Seconds without an entry until a read is given up: an open transaction holds its readers back that long at most."""
_PAGE = 500
"""Entries that are resolved at once."""


class LedgerBehind(StartupError):
    """Redis knows of entries that Kafka has not: Kafka went back in time, and what was delivered cannot be told."""


class Entry(msgspec.Struct, frozen=True):
    """One transaction."""

    token: str
    crawl: str
    """The root of the crawl's keys in its shard."""
    requests: list[tuple[str, str, str, int]]
    """(id in hex, outcome, reason, dead letters) of each."""

    def packable(self) -> tuple[str, str, list[tuple[bytes, str, str, int]]]:
        """As lua/slot_resolve.lua takes it."""
        return self.token, self.crawl, [(bytes.fromhex(id_), *end) for id_, *end in self.requests]  # type: ignore[misc]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


class Ledger:
    """KAFKA_TOPIC_LEDGER. Its calls block."""

    def __init__(self, settings: Any):
        self.topic: str = settings["KAFKA_TOPIC_LEDGER"]
        self._config = client_config(settings)

    def partitions(self) -> int:
        """How many slots there are. Raises StartupError where the topic is not there."""
        admin = AdminClient(self._config, logger=logging.getLogger("seine.librdkafka"))
        return len(admin.list_topics(self.topic, timeout=_TIMEOUT).topics[self.topic].partitions)

    @staticmethod
    def encoded(entry: Entry) -> bytes:
        """The value of its record."""
        return _encode(entry)

    def read(self, partition: int, offset: int) -> LedgerReader:
        """A reader of the entries from `offset` on. Raises KafkaException, and LedgerBehind."""
        place = TopicPartition(self.topic, partition)
        admin = AdminClient(self._config, logger=logging.getLogger("seine.librdkafka"))
        latest = {place: OffsetSpec.latest()}
        try:
            ends = admin.list_offsets(latest, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT)
            end = ends[place].result().offset
        finally:
            del admin  # here, in its own thread: an exception would keep it
        if end < 0:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE, f"{self.topic}/{partition} tells no end"))
        if offset > end:
            raise LedgerBehind(f"{self.topic}/{partition} ends at {end}, and Redis has seen it up to {offset}")
        return LedgerReader(self._config, TopicPartition(self.topic, partition, offset), end)


class LedgerReader:
    """Reads to the end as uncommitted readers see it: what is being committed is waited for. Its calls block."""

    def __init__(self, config: dict[str, Any], place: TopicPartition, end: int):
        self._place = place
        self._end = end
        self._consumer: Consumer | None = None
        if place.offset < end:
            self._consumer = Consumer(
                {
                    **config,
                    "group.id": "seine-ledger",
                    "enable.auto.commit": False,
                    "isolation.level": "read_committed",
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",
                    "fetch.wait.max.ms": 50,
                },
                logger=logging.getLogger("seine.librdkafka"),
            )
            self._consumer.assign([place])

    def next_page(self, is_over: Callable[[], bool] = lambda: False) -> tuple[list[Entry], int, bool]:
        """(entries, offset after them, whether they are the last). Raises KafkaException, also when `is_over`."""
        entries: list[Entry] = []
        offset = self._place.offset
        if self._consumer is None:
            return entries, offset, True
        deadline = time.monotonic() + _LONGEST_SILENCE
        while time.monotonic() < deadline and not is_over():
            message = self._consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                entries.append(_decode(message.value() or b""))
                offset = self._place.offset = (message.offset() or 0) + 1
                if len(entries) >= _PAGE:
                    return entries, offset, False
                deadline = time.monotonic() + _LONGEST_SILENCE
            elif error.code() == KafkaError._PARTITION_EOF:
                if (message.offset() or 0) >= self._end:
                    return entries, message.offset() or 0, True
            elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
                raise KafkaException(error)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the ledger cannot be read to its end"))

    def close(self) -> None:
        """Let go of the connection."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
