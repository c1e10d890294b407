"""Sends records to Kafka and awaits its delivery reports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from weakref import WeakKeyDictionary

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from crawlers import metrics
from crawlers.exceptions import RejectedRecord, SeineError
from crawlers.sink_load import SinkLoad
from pipelines.kafka_config import client_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.crawler import Crawler

log = structlog.get_logger("seine.kafka")

THE_RECORDS_FAULT = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.POLICY_VIOLATION,
    KafkaError.RECORD_LIST_TOO_LARGE,
}
_POLL_SECONDS = 0.1
_LONGEST_BACKOFF = 10.0


class Undelivered(SeineError):
    """The worker closes and Kafka has not acknowledged the record: its fate is unknown, its request unsettled."""


class Record(NamedTuple):
    """What is produced: bytes and text as they go to Kafka, and the item that they were made of."""

    topic: str
    key: bytes
    value: bytes | None
    """None is a tombstone."""
    headers: list[tuple[str, bytes]]
    item: Any = None


class Producer:
    """An idempotent producer whose `send` returns when all in-sync replicas have the record.

    librdkafka's calls and the poll thread never touch the event loop: reports cross to it in batches.
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
    ):
        self._config = config
        self._drain_seconds = drain_seconds
        self._closing = closing
        self._load = load or SinkLoad(sys.maxsize, sys.maxsize)
        self._client = self._new_client()
        self._alone: Client | None = None
        self._retired: deque[Client] = deque()
        self._reports: deque[tuple[asyncio.Future[KafkaError | None], KafkaError | None]] = deque()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._is_away = False

    @classmethod
    def of(cls, crawler: Crawler) -> Self:
        """The one producer of `crawler`'s process."""
        if crawler not in cls._shared:
            settings = crawler.settings
            config = producer_config(settings)
            drain_seconds = settings.getfloat("KAFKA_DRAIN_TIMEOUT")
            cls._shared[crawler] = cls(config, drain_seconds, lambda: is_closing(crawler), SinkLoad.of(crawler))
        return cls._shared[crawler]  # type: ignore[return-value]

    async def send(self, record: Record) -> None:
        """Return when Kafka has acknowledged `record`.

        Raises RejectedRecord where Kafka refuses the record itself, Undelivered where the worker had to close first.
        """
        started = time.monotonic()
        client, attempt = self._client, 0
        with metrics.RECORDS_IN_FLIGHT.track_inprogress(), self._load.track(len(record.value or b"")):
            while error := await self._try(client, record):
                attempt += 1
                metrics.DELIVERY_RETRIES.labels(error.name()).inc()
                if error.code() in THE_RECORDS_FAULT:
                    if client is self._alone or not _is_batched(error):
                        raise RejectedRecord(f"{record.topic}: {error.str()}")
                    client = self._client_for_one()
                    continue
                if error.fatal():
                    self._rebuild(client, error)
                client = self._client
                await self._back_off(attempt, record, error)
        if self._is_away:
            self._is_away = False
            log.info("kafka back", topic=record.topic)
        metrics.DELIVERY_SECONDS.observe(time.monotonic() - started)

    async def close(self) -> None:
        """Stop the poll thread; what is not acknowledged by then was told so."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def _try(self, client: Client, record: Record) -> KafkaError | None:
        """The error of one produce, None when acknowledged."""
        self._start()
        report = self._wait()
        try:
            while not self._produce(client, record, report):
                await self._pause(_POLL_SECONDS)
            return await report
        except KafkaException as error:
            return error.args[0]  # type: ignore[no-any-return]
        finally:
            self._waiting.discard(report)

    def _produce(self, client: Client, record: Record, report: asyncio.Future[KafkaError | None]) -> bool:
        """Whether librdkafka took the record; its queue may be full."""
        try:
            client.produce(
                record.topic,
                key=record.key,
                value=record.value,
                headers=record.headers,  # type: ignore[arg-type]
                on_delivery=lambda error, _message: self._reported(report, error),
            )
        except BufferError:
            return False
        return True

    async def _back_off(self, attempt: int, record: Record, error: KafkaError) -> None:
        if not self._is_away:
            self._is_away = True
            log.error("kafka away", topic=record.topic, error=error.str(), in_flight=len(self._waiting))
        await self._pause(random.uniform(0, min(_LONGEST_BACKOFF, 0.1 * 2**attempt)))

    async def _pause(self, seconds: float) -> None:
        """Wait `seconds`, or raise Undelivered as soon as the worker gives up."""
        giving_up = self._wait()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(giving_up, seconds)
        finally:
            self._waiting.discard(giving_up)

    def _wait(self) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        return future

    def _start(self) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._poll, name="kafka-poll", daemon=True)
            self._thread.start()

    def _poll(self) -> None:
        """The poll thread: serve callbacks until closed, and give up when closing takes too long."""
        deadline = None
        while not self._stop.is_set():
            try:
                self._serve_callbacks()
            except Exception:
                log.exception("poll failed")
            if self._closing():
                deadline = deadline or time.monotonic() + self._drain_seconds
                if time.monotonic() > deadline and self._loop is not None:
                    self._loop.call_soon_threadsafe(self._give_up)
                    deadline = time.monotonic() + self._drain_seconds

    def _serve_callbacks(self) -> None:
        alone, retired = self._alone, list(self._retired)
        self._client.poll(_POLL_SECONDS / 10 if alone or retired else _POLL_SECONDS)
        if alone is not None:
            alone.poll(0)
        for client in retired:
            client.poll(0)
            if not len(client):
                self._retired.remove(client)

    def _give_up(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(Undelivered(f"Kafka did not acknowledge within {self._drain_seconds:g} s"))

    def _reported(self, report: asyncio.Future[KafkaError | None], error: KafkaError | None) -> None:
        """A delivery report, in the poll thread. One wake-up of the loop serves all that arrive before it runs."""
        idle = not self._reports
        self._reports.append((report, error))
        if idle and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        while self._reports:
            report, error = self._reports.popleft()
            if not report.done():
                report.set_result(error)

    def _client_for_one(self) -> Client:
        """A producer whose batches hold one record each."""
        if self._alone is None:
            self._alone = self._new_client({"batch.num.messages": 1})
        return self._alone

    def _rebuild(self, broken: Client, error: KafkaError) -> None:
        """Replace a producer that a fatal error ended; its other records are reported as failed, and sent anew."""
        if broken is self._client:
            log.error("producer rebuilt", error=error.str())
            metrics.PRODUCER_REBUILDS.inc()
            self._client = self._new_client()
        elif broken is self._alone:
            self._alone = None
        else:
            return
        broken.purge()
        self._retired.append(broken)

    def _new_client(self, extra: dict[str, Any] | None = None) -> Client:
        return Client({**self._config, **(extra or {})}, logger=logging.getLogger("seine.librdkafka"))


def producer_config(settings: Any) -> dict[str, Any]:
    """librdkafka's configuration of the producer."""
    return {
        **client_config(settings),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "zstd",
        "linger.ms": 5,
        "partitioner": "murmur2_random",  # Java's, so that every client agrees on a key's partition
        "delivery.timeout.ms": int(settings.getfloat("KAFKA_DELIVERY_TIMEOUT") * 1000),
        "queue.buffering.max.kbytes": 65536,
    }


def _is_batched(error: KafkaError) -> bool:
    """Whether the broker said it, of a batch; what librdkafka says before sending is of the record itself."""
    return error.code() != KafkaError.MSG_SIZE_TOO_LARGE or "Broker" in error.str()


def is_closing(crawler: Crawler) -> bool:
    """Whether the worker takes nothing new any more."""
    slot = crawler.engine._slot
    return slot is not None and slot.closing is not None
