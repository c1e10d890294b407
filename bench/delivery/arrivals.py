"""A consumer that notes when each record came, on the clock that the site's pages carry."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

import fastavro
from confluent_kafka import Consumer, TopicPartition

from pipelines.avro import decode
from pipelines.schemas import schema


class Arrival(NamedTuple):
    """Of one product's record; nanoseconds of the monotonic clock, which all processes of a machine share."""

    answered: int
    came: int

    @property
    def latency(self) -> float:
        """Milliseconds."""
        return (self.came - self.answered) / 1e6


class Arrivals:
    """Reads a topic of products from its beginning, read_committed, in a thread; records are decoded afterwards."""

    def __init__(self, servers: str, topic: str):
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": f"{topic}.bench",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        self._records: list[tuple[int, bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def wait_for(self, count: int, seconds: float) -> list[Arrival]:
        """The first `count` records to come, in that order."""
        deadline = time.monotonic() + seconds
        while len(self._records) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(self._records)} of {count} records have come within {seconds:g} s")
            time.sleep(0.05)
        parsed = fastavro.parse_schema(schema("products"))
        return [Arrival(int(decode(value, lambda _: parsed)["sku"]), came) for came, value in self._records[:count]]

    def _read(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self._records.append((time.monotonic_ns(), message.value() or b""))
