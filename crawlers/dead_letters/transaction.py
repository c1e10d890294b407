"""What a replay produces: records and receipts together, once, whatever dies.

One transactional id per topic: a replay that begins fences the one before, so that two cannot replay the same letter.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from crawlers.exceptions import RejectedRecord, SeineError, StartupError
from pipelines.fatal_errors import fatal_errors_raised
from pipelines.producer import THE_RECORDS_FAULT, producer_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.producer import Record

_TIMEOUT = 60.0
_COMMITS = 3
_TRIES = 3
_WITH_ANOTHER = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER}
"""Said of records that are at fault neither in themselves nor in where they go."""
_FENCED = {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}


class Fenced(SeineError):
    """Another replay of the topic has begun."""


class Doubtful(SeineError):
    """Kafka has not said whether the transaction was committed: the next replay reads it."""


class Transactions:
    """A transactional producer. Its calls block."""

    def __init__(self, settings: Any):
        topic = settings["KAFKA_TOPIC_DEAD_LETTERS"]
        self._topic = topic
        config = {
            **producer_config(settings),
            "transactional.id": f"seine-dlq-replay-{topic}",
            "transaction.timeout.ms": round(_TIMEOUT * 1000),
            "delivery.timeout.ms": round(_TIMEOUT * 1000),
        }
        self._client = Client(config, logger=logging.getLogger("seine.librdkafka"))

    def begin(self) -> None:
        """End what another replay has begun. StartupError where Kafka does not let this one be."""
        try:
            self._client.init_transactions(_TIMEOUT)
        except KafkaException as error:
            raise self._told(error) from None

    def commit(self, records: Sequence[Record]) -> None:
        """Produce them, all or none.

        RejectedRecord where Kafka refuses one for what it is, and StartupError: none. Fenced and Doubtful: unknown.

        A refused record leaves a gap in the sequence of its partition. The next transaction there fails, and its abort
        makes librdkafka take another epoch, so it is tried again. (A client of its own would fence a later replay.)
        """
        for attempt in range(1, _TRIES + 1):
            try:
                self._produce_all(records)
                self._commit()
                return
            except (KafkaException, BufferError) as error:
                told = self._aborted(error)
                if isinstance(told, Fenced | Doubtful) or not _is_gap(error) or attempt == _TRIES:
                    raise told from None

    def _produce_all(self, records: Sequence[Record]) -> None:
        failed: list[KafkaError] = []
        self._client.begin_transaction()
        for record in records:
            self._produce(record, failed)
        with fatal_errors_raised():
            self._client.flush(_TIMEOUT)
        if failed:  # one that is refused takes others with it, which are told to be purged
            raise KafkaException(min(failed, key=lambda error: error.code() not in THE_RECORDS_FAULT))

    def _produce(self, record: Record, failed: list[KafkaError]) -> None:
        def reported(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                failed.append(error)

        while True:
            try:
                record.produce_with(self._client, reported)
                return
            except BufferError:
                with fatal_errors_raised():
                    self._client.poll(0.1)

    def _commit(self) -> None:
        """A commit that Kafka has not answered is asked for again: it is not done twice."""
        for attempt in range(1, _COMMITS + 1):
            try:
                self._client.commit_transaction(_TIMEOUT)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or attempt == _COMMITS:
                    raise

    def _aborted(self, error: Exception) -> SeineError:
        """Why the transaction is undone, or may be."""
        reason = error.args[0] if isinstance(error, KafkaException) else None
        told = self._told(error)
        if isinstance(told, Fenced):
            return told
        try:
            self._client.abort_transaction(_TIMEOUT)
        except KafkaException as failure:
            told = self._told(failure)
            return told if isinstance(told, Fenced) else Doubtful(f"{told}. Run the command again")
        return RejectedRecord(str(told)) if reason is not None and reason.code() in THE_RECORDS_FAULT else told

    def _told(self, error: Exception) -> SeineError:
        reason = error.args[0] if isinstance(error, KafkaException) else None
        if reason is None:
            return StartupError(f"Kafka: {error}")
        if reason.code() in _FENCED:
            return Fenced(f"another replay of {self._topic} has begun: this one ends, and what it has done stays done")
        return StartupError(f"Kafka refuses to replay {self._topic}: {reason.str()}")


def _is_gap(error: Exception) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _WITH_ANOTHER
