"""A librdkafka producer that its owner polls."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from pipelines.kafka_statistics import EVERY, KafkaStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.producer import Record

log = structlog.get_logger("seine.kafka")

_POLL_SECONDS = 0.1


class PolledClient:
    """Reports are given in `poll`, by the thread that calls it: no lock is waited for between two of them.

    librdkafka waits on the wall clock in threads of its own, and where that was set back, a wait lasts until it has
    caught up. Such a client is retired: another thread sees to its end.
    """

    def __init__(self, config: dict[str, Any], statistics: KafkaStatistics | None = None):
        self._statistics = statistics
        if statistics is not None:
            config = {**config, "statistics.interval.ms": EVERY, "stats_cb": self._heard}
        self._client: Client | None = Client(config, logger=logging.getLogger("seine.librdkafka"))

    def produce(self, record: Record, report: Callable[[KafkaError | None, Any], None]) -> bool:
        """Whether librdkafka took the record; its queue may be full.

        Raises KafkaException, with the code _DESTROY where the client is retired.
        """
        if self._client is None:
            raise KafkaException(KafkaError(KafkaError._DESTROY))
        try:
            record.produce_with(self._client, report)
        except BufferError:
            return False
        return True

    def poll(self) -> None:
        """Give the reports that are there; does not block."""
        if self._client is not None:
            _poll(self._client, 0.0)

    def _heard(self, text: str) -> None:
        if self._statistics is not None and self._client is not None:
            self._statistics.heard(text)

    def retire(self) -> threading.Thread:
        """Drop what has not been acknowledged, and end: in a thread of its own, as that may take its time."""
        client, self._client = self._client, None
        thread = threading.Thread(target=_end, args=([client],), name="kafka-end", daemon=True)
        thread.start()
        return thread


def _end(last: list[Client | None]) -> None:
    client = last.pop()
    if client is None:
        return
    client.purge(blocking=False)
    while len(client):
        _poll(client, _POLL_SECONDS)
    del client  # destroying it blocks


def _poll(client: Client, seconds: float) -> None:
    try:
        client.poll(seconds)
    except KafkaException as error:  # a fatal one, which the records' reports tell too
        log.warning("client failed", error=error.args[0].str())
    except Exception:
        log.exception("poll failed")
