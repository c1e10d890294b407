"""Reads records back from their topics, as any consumer would: by their framing and the registry alone."""

from __future__ import annotations

import functools
import heapq
import json
import logging
import time
from base64 import b64encode
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from crawlers.exceptions import StartupError, UserError
from pipelines.avro import decode, decode_frame
from pipelines.headers import PAGE_FETCHED
from pipelines.kafka_config import client_config
from pipelines.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT = 10.0
_SILENCE = 30.0
"""Seconds without a message, or the word that there are no more, until a topic counts as unreadable."""
_PRODUCT_COLUMNS = ("key", "name", "price", "currency", "availability", "brand", "gtin", "fetched_at")
_PAGE_COLUMNS = ("ended_at", "outcome", "reason", "status", "attempt", "bytes", "items", "links", "url")
_LETTER_COLUMNS = ("key", "stage", "error", "url")
_ERROR_HEADER = "__connect.errors.exception.message"


class RecordReader:
    """A consumer of one topic, in no group, from any partition's tail."""

    def __init__(
        self,
        settings: Any,
        topic: str,
        isolation: str = "read_committed",
        options: dict[str, Any] | None = None,
    ):
        if not settings.get("KAFKA_BOOTSTRAP_SERVERS"):
            raise UserError('KAFKA_BOOTSTRAP_SERVERS is not set. On a laptop: eval "$(scrapy stack env)"')
        self._topic = topic
        self._servers = settings["KAFKA_BOOTSTRAP_SERVERS"]
        self._settings = settings
        config = {
            **client_config(settings),
            "group.id": "seine-records",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
            **(options or {}),
        }
        self._consumer = Consumer(config, logger=logging.getLogger("seine.librdkafka"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def tail(self, number: int, *, follow: bool = False) -> Iterator[dict[str, Any]]:
        """The newest `number` records of the topic, oldest first; then, with `follow`, those that arrive.

        A record is {topic, partition, offset, timestamp, key, headers, value}; value is None for a tombstone.
        """
        ends = self._ends()
        yield from self._newest(ends, number)
        if not follow:
            return
        self._consumer.assign([TopicPartition(self._topic, p, end) for p, (_, end) in ends.items()])
        while True:
            message = self._consumer.poll(1.0)
            if message is not None and message.error() is None:
                yield self.decoded(message)

    def retained(self) -> Iterator[Any]:
        """Every message that the topic has now, by partition and offset; to be decoded by `decoded`."""
        ends = self._ends()
        unread = {partition for partition, (low, high) in ends.items() if low < high}
        self._consumer.assign([TopicPartition(self._topic, p, low) for p, (low, _) in ends.items() if p in unread])
        heard = time.monotonic()
        while unread:
            messages: list[Any] = self._consumer.consume(500, timeout=0.2)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() > heard + _SILENCE:
                raise StartupError(f"{self._topic} at {self._servers} cannot be read: nothing came for {_SILENCE:g} s")
            for message in messages:
                partition = message.partition()
                if partition not in unread:
                    continue
                if (error := message.error()) is None:
                    yield message
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise StartupError(f"{self._topic} at {self._servers} cannot be read: {error.str()}")
                if error is not None or message.offset() + 1 >= ends[partition][1]:
                    unread.discard(partition)

    def _ends(self) -> dict[int, tuple[int, int]]:
        """(oldest, next) offset by partition."""
        try:
            metadata = self._consumer.list_topics(self._topic, timeout=_TIMEOUT).topics[self._topic]
            if metadata.error is not None:
                raise UserError(f"no topic {self._topic} at {self._servers}")
            return {
                partition: self._consumer.get_watermark_offsets(
                    TopicPartition(self._topic, partition), timeout=_TIMEOUT
                )
                for partition in metadata.partitions
            }
        except KafkaException as error:
            raise self._no_answer(error.args[0]) from None

    def _no_answer(self, error: KafkaError) -> StartupError:
        return StartupError(f"Kafka does not answer at {self._servers} (KAFKA_BOOTSTRAP_SERVERS): {error.str()}")

    def _newest(self, ends: dict[int, tuple[int, int]], number: int) -> list[dict[str, Any]]:
        starts = [TopicPartition(self._topic, p, max(low, high - number)) for p, (low, high) in ends.items()]
        unread = {start.partition for start in starts if start.offset < ends[start.partition][1]}
        self._consumer.assign(starts)
        newest: list[Any] = []
        while unread:
            messages = self._consumer.consume(500, timeout=0.2)
            for message in messages:
                if message.error() is not None:
                    unread.discard(message.partition())
                else:
                    entry = (message.timestamp()[1], message.partition(), message.offset(), message)
                    heapq.heappush(newest, entry)
                    if len(newest) > number:
                        heapq.heappop(newest)
        return [self.decoded(message) for *_, message in sorted(newest, key=lambda entry: entry[:3])]

    def decoded(self, message: Any) -> dict[str, Any]:
        """What `tail` yields, of one message."""
        return {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
            "key": (message.key() or b"").decode("utf-8", "replace"),
            "headers": {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers() or []},
            "value": self._value(message.value()),
        }

    def _value(self, value: bytes | None) -> Any:
        if value is None:
            return None
        try:
            decode_frame(value)
        except ValueError:
            return _json_or_text(value)
        return decode(value, self._schema)

    @functools.cache  # noqa: B019 - as short-lived as the command that holds it
    def _schema(self, schema_id: int) -> Any:
        if not self._settings.get("SCHEMA_REGISTRY_URL"):
            raise UserError("SCHEMA_REGISTRY_URL is not set: these records need it to be decoded")
        return fastavro.parse_schema(json.loads(Registry.from_settings(self._settings).schema_by_id(schema_id)))


def to_json(record: dict[str, Any]) -> str:
    """One line of JSON: decimals as text, times as ISO 8601, bytes as base64."""
    return json.dumps(record, ensure_ascii=False, default=_jsonable)


def rows(records: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """(columns, lines) of a table: a product's telling fields, an audit event's, or a dead letter's reason."""
    columns = _columns(records)
    return columns, [[_cell(record, column) for column in columns] for record in records]


def _columns(records: list[dict[str, Any]]) -> tuple[str, ...]:
    if any(_ERROR_HEADER in record["headers"] for record in records):
        return _LETTER_COLUMNS
    if any(record["headers"].get("ce_type") == PAGE_FETCHED for record in records):
        return _PAGE_COLUMNS
    return _PRODUCT_COLUMNS


def _cell(record: dict[str, Any], column: str) -> str:
    if column == "error":
        return str(record["headers"].get(_ERROR_HEADER, ""))
    value = record["value"] if isinstance(record["value"], dict) else {}
    found = record[column] if column == "key" else value.get(column, record["headers"].get(column))
    if isinstance(found, datetime):
        return f"{found:%H:%M:%S}"
    if isinstance(found, Decimal):
        return f"{found:.2f}" if found == found.quantize(Decimal("0.01")) else f"{found.normalize():f}"
    return _printable(found)


def _printable(value: Any) -> str:
    """Text fit for a terminal: what a page wrote must not steer it."""
    return "" if value is None else "".join(char if char.isprintable() else " " for char in str(value))


def _jsonable(value: Any) -> str:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _json_or_text(value: bytes) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value.decode("utf-8", "replace")
