"""Writes tombstones: records without a value, after which compaction removes what came before them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from confluent_kafka import KafkaError, Producer

from crawlers.exceptions import StartupError
from pipelines.producer import producer_config

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE = 30.0
"""Seconds that Kafka has to acknowledge them all."""


def bury(settings: Any, partitions: Mapping[str, set[int]]) -> int:
    """Write a tombstone for each key to every partition that has a record of it; how many that were.

    Returns when all in-sync replicas have them. Blocks. Raises StartupError.
    """
    topic = settings["KAFKA_TOPIC_PRODUCTS"]
    producer = Producer(producer_config(settings), logger=logging.getLogger("seine.librdkafka"))
    graves = [(key, partition) for key, found in partitions.items() for partition in sorted(found)]
    errors: list[KafkaError] = []
    for key, partition in graves:
        producer.produce(
            topic,
            key=key.encode(),
            value=None,
            partition=partition,
            headers=_headers(key),
            on_delivery=lambda error, _message: errors.append(error) if error else None,
        )
        producer.poll(0)
    unanswered = producer.flush(_PATIENCE)
    if errors or unanswered:
        why = errors[0].str() if errors else f"Kafka did not answer within {_PATIENCE:g} s"
        raise StartupError(f"{topic}: {len(errors) + unanswered} of {len(graves)} tombstones are not written: {why}")
    return len(graves)


def _headers(key: str) -> list[tuple[str, str | bytes | None]]:
    site = key.partition("/")[0]
    return [
        ("ce_id", uuid4().hex.encode()),
        ("ce_source", f"/seine/forget/{site}".encode()),
        ("ce_type", b"seine.product.forgotten"),
        ("ce_specversion", b"1.0"),
        ("ce_time", datetime.now(UTC).isoformat(timespec="milliseconds").encode()),
    ]
