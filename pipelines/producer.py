"""Sends records to Kafka and awaits its delivery reports."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from weakref import WeakKeyDictionary

import structlog
from confluent_kafka import KafkaError, KafkaException

from crawlers import metrics
from crawlers.exceptions import RejectedRecord, Undelivered
from crawlers.sink_load import SinkLoad
from pipelines.doubts import Doubts
from pipelines.kafka_config import client_config
from pipelines.kafka_health import KafkaHealth, TopicHealth
from pipelines.kafka_statistics import KafkaStatistics
from pipelines.polled_client import PolledClient
from pipelines.topic_keeper import TopicKeeper
from pipelines.wall_clock import WallClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Producer as Client
    from scrapy.crawler import Crawler

log = structlog.get_logger("seine.kafka")

THE_RECORDS_FAULT = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
    KafkaError.RECORD_LIST_TOO_LARGE,
}
"""Errors that say that the record itself is refused."""
_RETIRED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._DESTROY}
"""Said of the records of a client that was replaced."""
_NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_FULL_SECONDS = 0.1
"""Until a full queue of librdkafka's is tried again."""
_LOOK_SECONDS = 0.25
"""Between two looks at what waits."""
_POLL_SECONDS = 0.001
"""Between two questions for reports, while some are awaited."""
_IDLE_SECONDS = 1.0
"""Between two while none is: for statistics, which pile up where nobody asks."""
_LONGEST_BACKOFF = 10.0
_LONGEST_JOIN = 5.0
_CLOCK_TOLERANCE = 5.0
"""Seconds that the wall clock may be set back unnoticed: so long librdkafka may oversleep."""
_REBUILD_SECONDS = 2.0
"""At least, between two rebuilds: what broke one producer may break the next."""


class Record(NamedTuple):
    """What is produced: bytes and text as they go to Kafka, and the item that they were made of."""

    topic: str
    key: bytes
    value: bytes | None
    """None is a tombstone."""
    headers: list[tuple[str, bytes]]
    item: Any = None

    @property
    def size(self) -> int:
        """Bytes that Kafka counts."""
        size = len(self.key) + len(self.value or b"")
        for name, text in self.headers:
            size += len(name) + len(text)
        return size

    def produce_with(
        self, client: Client, report: Callable[[KafkaError | None, Any], None], partition: int = -1
    ) -> None:
        """Give it to librdkafka, whose delivery report `report` is called with; partition -1 is the key's own.

        Raises BufferError where its queue is full, and KafkaException.
        """
        client.produce(
            self.topic,
            key=self.key,
            value=self.value,
            headers=self.headers,  # type: ignore[arg-type]
            partition=partition,
            on_delivery=report,
        )


class Producer:
    """An idempotent producer whose `send` returns when all in-sync replicas have the record.

    The event loop itself asks librdkafka for reports. A thread that does would take Python's lock for each of them.
    One rejected record fails its whole batch, so each record of such a batch is sent again alone.
    A system's fault (no broker, no topic, no right to write) is retried until the worker closes.
    """

    _shared: ClassVar[WeakKeyDictionary[Crawler, Producer]] = WeakKeyDictionary()

    def __init__(
        self,
        config: dict[str, Any],
        drain_seconds: float,
        closing: Callable[[], bool] = lambda: False,
        load: SinkLoad | None = None,
        health: KafkaHealth | None = None,
        topics: TopicKeeper | None = None,
        doubts: Doubts | None = None,
    ):
        self._load = load or SinkLoad(sys.maxsize, sys.maxsize)
        self._health = health or KafkaHealth(_LONGEST_BACKOFF)
        self._topics = topics
        self._doubts = doubts or Doubts(config)
        self._config = {**config, "error_cb": lambda error: self._health.trouble(error.str())}
        self._drain_seconds = drain_seconds
        self._closing = closing
        self._closing_since: float | None = None
        self._clock = WallClock(_CLOCK_TOLERANCE)
        self._rebuilt_at = -_REBUILD_SECONDS
        self._client = PolledClient(self._config, KafkaStatistics())
        self._alone: PolledClient | None = None
        self._waiting: dict[asyncio.Future[Any], PolledClient | None] = {}
        """What is awaited; of a report, with the client that is to give it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._poller: asyncio.TimerHandle | None = None
        self._is_idle = True

    @classmethod
    def of(cls, crawler: Crawler) -> Self:
        """The one producer of `crawler`'s process."""
        if crawler not in cls._shared:
            settings = crawler.settings
            cls._shared[crawler] = cls(
                producer_config(settings),
                settings.getfloat("KAFKA_DRAIN_TIMEOUT"),
                lambda: is_closing(crawler),
                SinkLoad.of(crawler),
                KafkaHealth(settings.getfloat("KAFKA_TIMEOUT")),
                TopicKeeper(settings),
            )
            metrics.RECORDS_IN_FLIGHT.set_function(cls._shared[crawler]._health.in_flight)
        return cls._shared[crawler]  # type: ignore[return-value]

    async def send(self, record: Record) -> None:
        """Return when Kafka has acknowledged `record`.

        Raises RejectedRecord where Kafka refuses the record itself, Undelivered where the worker had to close first.
        """
        started, size = time.monotonic(), record.size
        self._load.add(1, size)
        topic = self._health.of(record.topic)
        topic.in_flight += 1
        try:
            client = self._client
            if error := await self._try(client, record, topic):
                error = await self._try_again(error, client, record, topic)
            if error is None or _is_batched(error):
                topic.answered()
            if error is not None:
                raise RejectedRecord(f"{record.topic}: {error.str()}")
        finally:
            topic.in_flight -= 1
            self._load.add(-1, -size)
        metrics.DELIVERY_SECONDS.observe(time.monotonic() - started)

    async def _try_again(
        self, error: KafkaError | None, client: PolledClient, record: Record, topic: TopicHealth
    ) -> KafkaError | None:
        """Until Kafka has it, or refuses the record itself: why."""
        failures = 0
        try:
            while error is not None:
                metrics.DELIVERY_RETRIES.labels(error.name()).inc()
                if error.code() in THE_RECORDS_FAULT:
                    if client is self._alone or not _is_batched(error):
                        return error
                    client = self._client_for_one()
                elif error.code() in _RETIRED:
                    client = self._client
                else:
                    failures += 1
                    topic.failed(error.str(), again=failures > 1)
                    if _is_fatal(error) and time.monotonic() - self._rebuilt_at > _REBUILD_SECONDS:
                        self._replace(client, error.str())
                    elif error.code() in _NO_TOPIC and self._topics is not None:
                        self._topics.restore()
                    await self._pause(random.uniform(0, min(_LONGEST_BACKOFF, 0.1 * 2**failures)))
                    client = self._client
                error = await self._try(client, record, topic)
            return None
        finally:
            topic.failing -= failures > 0

    async def close(self) -> None:
        """Stop; what is not acknowledged by then was told so."""
        for timer in filter(None, (self._timer, self._poller)):
            timer.cancel()
        self._doubts.end()
        for client in filter(None, (self._client, self._alone)):
            await asyncio.to_thread(client.retire().join, _LONGEST_JOIN)

    async def _try(self, client: PolledClient, record: Record, topic: TopicHealth) -> KafkaError | None:
        """The error of one produce, None when acknowledged."""
        report = self._wait(client)
        topic.ask()
        try:
            while not client.produce(record, partial(_reported, report)):
                await self._pause(_FULL_SECONDS)
            return await report
        except KafkaException as error:
            return error.args[0]  # type: ignore[no-any-return]
        finally:
            topic.asked -= 1
            del self._waiting[report]

    async def _pause(self, seconds: float) -> None:
        """Wait `seconds`, or raise Undelivered as soon as the worker gives up."""
        giving_up = self._wait()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(giving_up, seconds)
        finally:
            del self._waiting[giving_up]

    def _wait(self, client: PolledClient | None = None) -> asyncio.Future[Any]:
        self._loop = self._loop or asyncio.get_running_loop()
        future = self._loop.create_future()
        self._waiting[future] = client
        if self._timer is None:
            self._look()
        if self._is_idle:
            self._is_idle = False
            if self._poller is not None:
                self._poller.cancel()
            self._poller = self._loop.call_later(_POLL_SECONDS, self._poll)
        return future

    def _poll(self) -> None:
        assert self._loop is not None
        self._clock.look()
        self._client.poll()
        if self._alone is not None:
            self._alone.poll()
        self._is_idle = not self._waiting
        self._poller = self._loop.call_later(_IDLE_SECONDS if self._is_idle else _POLL_SECONDS, self._poll)

    def _look(self) -> None:
        """While records wait: notice a silent Kafka and a wrong clock, and give up when closing takes too long."""
        assert self._loop is not None
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look) if self._waiting else None
        self._health.look()
        if self._clock.went_back():
            self._replace_all("the clock was set back, on which librdkafka waits")
        self._doubt()
        if self._closing():
            self._closing_since = self._closing_since or time.monotonic()
            if time.monotonic() - self._closing_since > self._drain_seconds:
                self._give_up()

    def _doubt(self) -> None:
        """Of a silence, find out whose it is."""
        topic = self._health.silent_topic()
        if topic is None:
            self._doubts.end()
        elif self._doubts.is_stuck(topic):
            self._doubts.end()
            self._replace_all(f"nothing is heard of {topic}, though Kafka answers")

    def _replace_all(self, why: str) -> None:
        for client in filter(None, (self._client, self._alone)):
            self._replace(client, why)

    def _give_up(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(Undelivered(f"Kafka did not acknowledge within {self._drain_seconds:g} s"))

    def _client_for_one(self) -> PolledClient:
        """A producer whose batches hold one record each."""
        if self._alone is None:
            self._alone = PolledClient({**self._config, "batch.num.messages": 1})
        return self._alone

    def _replace(self, broken: PolledClient, why: str) -> None:
        """Go on without a client that is of no more use: its records count as failed, and are sent anew.

        What it says of them is not awaited: a thread of its own that sleeps until the clock has caught up says nothing.
        """
        if broken is self._alone:
            self._alone = None
        elif broken is self._client:
            self._rebuilt_at = time.monotonic()
            log.error("producer rebuilt", why=why)
            metrics.PRODUCER_REBUILDS.inc()
            self._client = PolledClient(self._config, KafkaStatistics())
        else:
            return
        for report, client in self._waiting.items():
            if client is broken and not report.done():
                report.set_result(KafkaError(KafkaError._DESTROY))
        broken.retire()  # whose thread gives the reports that are left


def producer_config(settings: Any) -> dict[str, Any]:
    """librdkafka's configuration of the producer."""
    return {
        **client_config(settings),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "zstd",
        "linger.ms": 2,
        "partitioner": "murmur2_random",  # Java's, so that every client agrees on a key's partition
        "delivery.timeout.ms": int(settings.getfloat("KAFKA_DELIVERY_TIMEOUT") * 1000),
        "queue.buffering.max.kbytes": 65536,
        "topic.metadata.propagation.max.ms": 5000,  # a missing topic is told soon; sends are tried anew anyway
    }


def _reported(report: asyncio.Future[KafkaError | None], error: KafkaError | None, _message: Any) -> None:
    if not report.done():
        report.set_result(error)


def _is_batched(error: KafkaError) -> bool:
    """Whether the broker said it, of a batch; what librdkafka says before sending is of the record itself."""
    return error.code() != KafkaError.MSG_SIZE_TOO_LARGE or "Broker" in error.str()


def _is_fatal(error: KafkaError) -> bool:
    """Whether the client is of no more use; reports carry the code, and not the flag."""
    return error.fatal() or error.code() == KafkaError._FATAL


def is_closing(crawler: Crawler) -> bool:
    """Whether the worker takes nothing new any more."""
    slot = crawler.engine._slot
    return slot is not None and slot.closing is not None
