"""A librdkafka producer with the thread that serves its callbacks."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.producer import Record

log = structlog.get_logger("seine.kafka")

_POLL_SECONDS = 0.1


class PolledClient:
    """Callbacks run in the client's own thread, named kafka-poll.

    Each client has its own: librdkafka waits on the wall clock, and where that was set back, a wait lasts until it has
    caught up. Such a client is retired, and its successor is not held up by it.
    """

    def __init__(self, config: dict[str, Any]):
        self._client = Client(config, logger=logging.getLogger("seine.librdkafka"))
        self._is_retired = self._is_closed = False
        self._thread = threading.Thread(target=self._poll, name="kafka-poll", daemon=True)
        self._thread.start()

    def produce(self, record: Record, report: Callable[[KafkaError | None], None]) -> bool:
        """Whether librdkafka took the record; its queue may be full. `report` is called in another thread.

        Raises KafkaException, with the code _DESTROY where the client is retired.
        """
        if self._is_retired:
            raise KafkaException(KafkaError(KafkaError._DESTROY))
        try:
            self._client.produce(
                record.topic,
                key=record.key,
                value=record.value,
                headers=record.headers,  # type: ignore[arg-type]
                on_delivery=lambda error, _: report(error),
            )
        except BufferError:
            return False
        return True

    def retire(self) -> None:
        """Report as failed what has not been acknowledged, and end once that is told."""
        self._client.purge(blocking=False)
        self._is_retired = True

    def close(self, seconds: float) -> None:
        """End now; blocks, for `seconds` at most."""
        self._is_closed = True
        self._thread.join(seconds)

    def _poll(self) -> None:
        while not self._is_closed and not (self._is_retired and not len(self._client)):
            try:
                self._client.poll(_POLL_SECONDS)
            except KafkaException as error:  # a fatal one, which the records' reports tell too
                log.warning("client failed", error=error.args[0].str())
            except Exception:
                log.exception("poll failed")
        del self._client  # destroying it blocks, and must be done here
