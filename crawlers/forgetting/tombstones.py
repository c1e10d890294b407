"""Writes tombstones: records without a value, after which compaction removes what came before them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from confluent_kafka import KafkaError, Producer

from crawlers.exceptions import StartupError
from pipelines.headers import PRODUCT_FORGOTTEN
from pipelines.producer import Record, producer_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PATIENCE = 30.0
"""Seconds that Kafka has to acknowledge all."""


def tombstones(topic: str, partitions: Mapping[str, set[int]]) -> list[tuple[Record, int]]:
    """One for each key and partition that has a record of it."""
    return [
        (Record(topic, key.encode(), None, _headers(key)), partition)
        for key, found in partitions.items()
        for partition in sorted(found)
    ]


def write(settings: Any, records: Iterable[tuple[Record, int]]) -> None:
    """Return when all in-sync replicas have the records, each in its partition; -1 is the key's own.

    Blocks. Raises StartupError.
    """
    producer = Producer(producer_config(settings), logger=logging.getLogger("seine.librdkafka"))
    errors: list[KafkaError] = []
    for record, partition in records:
        record.produce_with(producer, lambda error, _message: errors.append(error) if error else None, partition)
        producer.poll(0)
    unanswered = producer.flush(_PATIENCE)
    if errors or unanswered:
        why = errors[0].str() if errors else f"Kafka did not answer within {_PATIENCE:g} s"
        raise StartupError(f"{len(errors) + unanswered} records are not written: {why}. Run this again")


def _headers(key: str) -> list[tuple[str, bytes]]:
    return [
        ("ce_id", uuid4().hex.encode()),
        ("ce_source", f"/seine/forget/{key.partition('/')[0]}".encode()),
        ("ce_type", PRODUCT_FORGOTTEN.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_time", datetime.now(UTC).isoformat(timespec="milliseconds").encode()),
    ]
