"""Kafka's side of exactly once: one transaction at a time, under the name of its slot. The calls block."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from crawlers import metrics
from crawlers.exceptions import SeineError
from pipelines.fatal_errors import fatal_errors_raised
from pipelines.producer import THE_RECORDS_FAULT, producer_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipelines.producer import Record

log = structlog.get_logger("seine.kafka")

_WITH_ANOTHER = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
_STEP = 5.0
"""Seconds of one call; between two, the worker may give up."""


class Doubtful(SeineError):
    """Whether the transaction was committed is for its ledger to say; the producer is of no more use."""

    def __init__(self, why: str, failed: Iterable[int] = ()):
        super().__init__(why)
        self.failed = set(failed)
        """Places in the transaction of the records that Kafka has not taken."""


class Refused(SeineError):
    """Kafka refuses records; the transaction was aborted, for certain. The producer is to be opened anew."""

    def __init__(self, records: list[int], why: str, failed: Iterable[int], *, is_certain: bool):
        super().__init__(why)
        self.records = records
        """Their places in the transaction."""
        self.failed = set(failed)
        """Those of the ones that Kafka has not taken for no fault of theirs."""
        self.is_certain = is_certain
        """Whether it is the records; else their batches hold one, and they are to be sent one by one."""


class Transactions:
    """Of one slot. Whoever opens it ends all transactions that were begun under its name before."""

    def __init__(self, settings: Any, name: str, is_over: Callable[[], bool]):
        self._is_over = is_over
        self._alive = settings.getfloat("KAFKA_TRANSACTION_TIMEOUT")
        """Seconds until Kafka ends a transaction by itself: as long a commit is tried again."""
        self._client = Producer(
            {
                **producer_config(settings),
                "transactional.id": name,
                "transaction.timeout.ms": round(self._alive * 1000),
                "delivery.timeout.ms": round(self._alive * 1000),
            },
            logger=logging.getLogger("seine.librdkafka"),
        )
        self.is_worn = False
        """Whether it must be opened anew before the next transaction."""

    def open(self) -> None:
        """Fence the others. Raises KafkaException where that cannot be done."""
        while True:
            try:
                self._client.init_transactions(_STEP)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or self._is_over():
                    raise

    def commit(self, records: Sequence[Record], ledger: Record, partition: int, *, one_by_one: bool) -> int | None:
        """Produce all in one transaction; the offset after the ledger's entry, where Kafka has told it.

        Raises Refused, after which nothing of it is there, and Doubtful.
        """
        reports = _Reports()
        try:
            self._client.begin_transaction()
            for place, record in enumerate(records):
                self._produce(record, -1, reports, place)
                if one_by_one:
                    self._flush()
                if place in reports.errors:
                    break
            if not reports.errors:
                self._produce(ledger, partition, reports, len(records))
                self._flush()
        except KafkaException as error:
            raise self._doubtful(error, reports) from error
        if reports.errors:
            self._abort()
            raise reports.refusal(one_by_one=one_by_one)
        self._commit()
        offset = reports.offsets.get(len(records))
        return None if offset is None else offset + 1

    def close(self) -> None:
        """Let go of what is not sent; librdkafka's threads end here."""
        self._client.purge()
        with contextlib.suppress(KafkaException), fatal_errors_raised():  # that it is fenced is known
            self._client.poll(0)  # what was purged is told, and let go of
        del self._client

    def _produce(self, record: Record, partition: int, reports: _Reports, place: int) -> None:
        while True:
            try:
                record.produce_with(self._client, reports.of(place), partition)
                return
            except BufferError:
                with fatal_errors_raised():
                    self._client.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() not in THE_RECORDS_FAULT:
                    raise
                reports.refuse(place, error.args[0])
                return

    def _flush(self) -> None:
        with fatal_errors_raised():
            while self._client.flush(_STEP):
                if self._is_over():
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the worker gives up"))

    def _commit(self) -> None:
        deadline = time.monotonic() + self._alive
        while True:
            try:
                self._client.commit_transaction(_STEP)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline or self._is_over():
                    raise self._doubtful(error) from error
                metrics.DELIVERY_RETRIES.labels(error.args[0].name()).inc()
                self.is_worn = True

    def _abort(self) -> None:
        try:
            self._client.abort_transaction(2 * _STEP)
        except KafkaException as error:
            raise self._doubtful(error) from error

    def _doubtful(self, error: KafkaException, reports: _Reports | None = None) -> Doubtful:
        why = error.args[0]
        metrics.DELIVERY_RETRIES.labels(why.name()).inc()
        kind = "fatal" if why.fatal() else "abortable" if why.txn_requires_abort() else "other"
        return Doubtful(f"{why.name()} ({kind}): {why.str()}", reports.failed if reports is not None else ())


class _Reports:
    """Delivery reports of one transaction, by a record's place in it."""

    def __init__(self) -> None:
        self.errors: dict[int, KafkaError] = {}
        self.offsets: dict[int, int] = {}
        self._unsent: set[int] = set()
        """Refused before they were in any batch."""

    @property
    def failed(self) -> list[int]:
        """Places of records that Kafka did not take for no fault of theirs, nor of another one of the transaction."""
        return [place for place, error in self.errors.items() if error.code() not in _WITH_ANOTHER | THE_RECORDS_FAULT]

    def of(self, place: int) -> Callable[[KafkaError | None, Any], None]:
        """The callback of the record at that place."""

        def report(error: KafkaError | None, message: Any) -> None:
            if error is not None:
                self.errors[place] = error
            else:
                self.offsets[place] = message.offset()

        return report

    def refuse(self, place: int, error: KafkaError) -> None:
        """librdkafka has not taken it."""
        self.errors[place] = error
        self._unsent.add(place)

    def refusal(self, *, one_by_one: bool) -> Refused | Doubtful:
        """What the errors come to, in a transaction that was aborted.

        One refused record fails its batch, and the transaction what is queued behind that.
        """
        refused = [place for place, error in self.errors.items() if error.code() in THE_RECORDS_FAULT]
        why = self.errors[refused[0] if refused else next(iter(self.errors))]
        if one_by_one and not refused:
            return Doubtful(f"{why.name()}: {why.str()}", self.failed)
        is_certain = bool(refused) and (one_by_one or self._unsent.issuperset(refused))
        return Refused(refused, why.str(), self.failed, is_certain=is_certain)
